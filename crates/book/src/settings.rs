//! `nightbook.toml` as data, with the default of every setting.

mod alerts;
mod controls;
mod http_prices;
mod jobs;
mod limits;
mod scenarios;

use std::collections::BTreeSet;

use chrono::{NaiveDate, NaiveTime};
use domain::ids::{JobName, ScheduleName};
use domain::zone::Zone;
use serde::{Deserialize, Serialize};

pub use self::alerts::{AlertSettings, COMMAND_CHANNEL, COMMAND_SECONDS};
pub(crate) use self::controls::{ControlKind, kind_of};
pub use self::controls::{ControlRule, ControlSettings, FreshnessSettings, Limits, OnStale, Side};
pub use self::http_prices::{AnswerForm, HttpPriceSettings};
pub(crate) use self::jobs::known_job;
pub use self::jobs::{AddedJob, JOBS, TAKEN_NAMES, needs_of};
pub use self::limits::{FigureLimit, LimitScope, job_of_figure};
pub use self::scenarios::{Factor, Scenario, Shock, default_factors, default_scenarios};
use crate::calendar::CalendarKind;

/// Everything `nightbook.toml` can say. Each part has a default, so an empty or missing file is a whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// `[site]`
    pub site: SiteSettings,
    /// `[schedule]`
    pub schedule: ScheduleSettings,
    /// `[factors]`, in the order of the file. A table in the book replaces the default whole.
    pub factors: Vec<Factor>,
    /// `[rates]`
    pub rates: RateSettings,
    /// `[factor_analysis]`
    pub factor_analysis: FactorSettings,
    /// `[correlations]`
    pub correlations: CorrelationSettings,
    /// `[snapshot]`
    pub snapshot: SnapshotSettings,
    /// `[greeks]`
    pub greeks: GreekSettings,
    /// `[run]`
    pub run: RunSettings,
    /// `[market_risk]`
    pub market_risk: MarketRiskSettings,
    /// `[[scenarios]]`, in the order of the file. One scenario in the book replaces all default ones.
    pub scenarios: Vec<Scenario>,
    /// `[retention]`
    pub retention: RetentionSettings,
    /// `[restatement]`
    // Pinned inputs of older releases do not have it.
    #[serde(default)]
    pub restatement: RestatementSettings,
    /// `[alerts]`
    pub alerts: AlertSettings,
    /// `[[jobs]]`, in the order of the file: jobs that are programs of the user's own. They run after the built-in ones.
    // Pinned inputs of older releases do not have it.
    #[serde(default)]
    pub added_jobs: Vec<AddedJob>,
    /// `[lineage]`
    #[serde(default)]
    pub lineage: LineageSettings,
    /// `[prices]`, where the source is `http`; none: the files of the book.
    #[serde(default)]
    pub http_prices: Option<HttpPriceSettings>,
    /// `[controls]`
    #[serde(default, skip_serializing_if = "ControlSettings::is_default")]
    pub controls: ControlSettings,
    /// `[freshness]`
    #[serde(default, skip_serializing_if = "FreshnessSettings::is_default")]
    pub freshness: FreshnessSettings,
    /// `[[limits]]`, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<FigureLimit>,
}

/// `[lineage]`: runs as OpenLineage events, told when a run has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageSettings {
    /// The namespace of jobs and datasets. Default `nightbook`.
    pub namespace: String,
    /// A file that the events are appended to, one a line; relative to the data folder. Default: none.
    pub file: Option<String>,
    /// An address that each event is posted to, for example `http://marquez:5000/api/v1/lineage`. Default: none.
    pub url: Option<String>,
    /// The environment variable that holds the key, sent as a bearer token. Default: none.
    pub key_env: Option<String>,
}

impl Default for LineageSettings {
    fn default() -> Self {
        Self { namespace: "nightbook".to_owned(), file: None, url: None, key_env: None }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            site: SiteSettings::default(),
            schedule: ScheduleSettings::default(),
            factors: default_factors(),
            rates: RateSettings::default(),
            factor_analysis: FactorSettings::default(),
            correlations: CorrelationSettings::default(),
            snapshot: SnapshotSettings::default(),
            greeks: GreekSettings::default(),
            run: RunSettings::default(),
            market_risk: MarketRiskSettings::default(),
            scenarios: default_scenarios(),
            retention: RetentionSettings::default(),
            restatement: RestatementSettings::default(),
            alerts: AlertSettings::default(),
            added_jobs: Vec::new(),
            lineage: LineageSettings::default(),
            http_prices: None,
            controls: ControlSettings::default(),
            freshness: FreshnessSettings::default(),
            limits: Vec::new(),
        }
    }
}

/// How much the pages show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Everything, money included.
    #[default]
    Full,
    /// No amounts of money and no holdings: fit for readers who may know that the batch ran, not what it found.
    Redacted,
}

/// `[site]`: the published pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSettings {
    /// The title of every page. Default "Nightbook".
    pub title: String,
    /// Where the site will stand, for absolute links in feeds and alerts; without a slash at the end. Default: none.
    pub base_url: Option<String>,
    /// `full` or `redacted`. Default `full`.
    pub detail: Detail,
    /// Whether the file of the settings states `detail`: a site that is redacted becomes full by no default. Not stored.
    #[serde(skip)]
    pub detail_is_stated: bool,
    /// Whether each portfolio has badges of its own. Default no.
    // Pinned inputs of older releases do not have it.
    #[serde(default)]
    pub portfolio_badges: bool,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self {
            title: "Nightbook".to_owned(),
            base_url: None,
            detail: Detail::Full,
            detail_is_stated: false,
            portfolio_badges: false,
        }
    }
}

/// `[schedule]`: when runs start and which day they stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSettings {
    /// The schedule's name, part of the identity of its runs. Default `nightly`.
    pub name: ScheduleName,
    /// Five fields: minute, hour, day of month, month, day of week. Default `30 18 * * 1-5`.
    pub cron: String,
    /// The IANA time zone of `cron`. Default `America/New_York`.
    pub timezone: Zone,
    /// `nyse`, `weekdays` or `every-day`. Default `nyse`.
    pub calendar: CalendarKind,
    /// How late a run may be before it counts as overdue. Default 60.
    pub grace_minutes: u32,
    /// Whether slots missed while nothing was running are run afterwards. Default true.
    pub catch_up: bool,
    /// When a session ends, in `timezone`, for the calendars `weekdays` and `every-day`. Default: with the day.
    // Pinned inputs of older releases do not have these four.
    #[serde(default)]
    pub close: Option<NaiveTime>,
    /// Days without a session, beside those of the calendar. Default: none.
    #[serde(default)]
    pub closed: BTreeSet<NaiveDate>,
    /// Days with a session although the calendar has none. Default: none.
    #[serde(default)]
    pub open: BTreeSet<NaiveDate>,
    /// The night series, which the nights of the schedule keep when it is renamed. Default: the name of the schedule.
    #[serde(default)]
    pub series: Option<ScheduleName>,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            name: known_schedule("nightly"),
            cron: "30 18 * * 1-5".to_owned(),
            timezone: Zone::new_york(),
            calendar: CalendarKind::Nyse,
            grace_minutes: 60,
            catch_up: true,
            close: None,
            closed: BTreeSet::new(),
            open: BTreeSet::new(),
            series: None,
        }
    }
}

/// `[rates]`: how a change of yields becomes a return of a factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateSettings {
    /// The factor whose shocks are yield changes. Default "Interest Rate".
    pub factor: String,
    /// The return is -duration x change of the yield. Default 17.
    pub duration: f64,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self { factor: "Interest Rate".to_owned(), duration: 17.0 }
    }
}

/// `[factor_analysis]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactorSettings {
    /// Returns in the window. Default 90.
    pub window: u32,
    /// Fewer complete rows than this give no fit. Default 60.
    pub min_observations: u32,
    /// Univariate betas are clamped to plus or minus this. Default 3.
    pub beta_cap: f64,
}

impl Default for FactorSettings {
    fn default() -> Self {
        Self { window: 90, min_observations: 60, beta_cap: 3.0 }
    }
}

/// `[correlations]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationSettings {
    /// Returns in the window. Default 90.
    pub window: u32,
    /// Fewer common returns than this give no correlation. Default 30.
    pub min_overlap: u32,
    /// Positions worth less are left out. Default 10000.
    pub min_position_value: f64,
    /// Positions with a smaller share of gross value are left out. Default 0.01.
    pub min_weight: f64,
    /// Positions correlated by at least this form a cluster. Default 0.7.
    pub cluster_threshold: f64,
}

impl Default for CorrelationSettings {
    fn default() -> Self {
        Self { window: 90, min_overlap: 30, min_position_value: 10_000.0, min_weight: 0.01, cluster_threshold: 0.7 }
    }
}

/// `[snapshot]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSettings {
    /// Returns in the history simulation. Default 252.
    pub risk_window: u32,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self { risk_window: 252 }
    }
}

/// `[greeks]`: what the option model assumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GreekSettings {
    /// The risk-free rate, continuous, a year. Default 0.05.
    pub rate: f64,
    /// The volatility where a row gives none. Default 0.25.
    pub default_volatility: f64,
    /// The dividend yield, continuous, a year. Default 0.
    pub dividend_yield: f64,
}

impl Default for GreekSettings {
    fn default() -> Self {
        Self { rate: 0.05, default_volatility: 0.25, dividend_yield: 0.0 }
    }
}

/// `[run]`: which jobs a run has and what it may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSettings {
    /// The jobs, in order. Default: all nine of [`JOBS`].
    pub jobs: Vec<JobName>,
    /// Portfolios in hand at once. Default: as many as the machine has cores.
    pub concurrency: Option<u32>,
    /// Attempts at most for a job that fails transiently, the first one included. Default 3.
    pub retries: u32,
    /// The pause before the second attempt; it doubles after each. Default 1.
    pub backoff_seconds: f64,
    /// What a job may take. Default 300.
    pub job_timeout_seconds: u32,
    /// A run is closed this long after it was sealed, complete or not. Default 120.
    pub deadline_minutes: u32,
    /// A close older than this many sessions is no price any more. Default 5.
    pub price_max_age_sessions: u32,
    /// A book whose run would take more memory than this, in MiB, is refused. Default 2048.
    // Pinned inputs of older releases do not have it, and it changes no result.
    #[serde(default = "memory_limit_mib", skip_serializing)]
    pub memory_limit_mib: u32,
}

const fn memory_limit_mib() -> u32 {
    2_048
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            jobs: JOBS.into_iter().map(known_job).collect(),
            concurrency: None,
            retries: 3,
            backoff_seconds: 1.0,
            job_timeout_seconds: 300,
            deadline_minutes: 120,
            price_max_age_sessions: 5,
            memory_limit_mib: memory_limit_mib(),
        }
    }
}

/// `[market_risk]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketRiskSettings {
    /// Moves of the market, as fractions, in the order they are shown. Default -20, -10, -5, 5, 10 and 20 %.
    pub moves: Vec<f64>,
}

impl Default for MarketRiskSettings {
    fn default() -> Self {
        Self { moves: vec![-0.20, -0.10, -0.05, 0.05, 0.10, 0.20] }
    }
}

/// `[retention]`: how long things are kept, from the time they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionSettings {
    /// Job records. Default 400.
    pub records_days: u32,
    /// Full results. Default 30.
    pub results_days: u32,
    /// Pinned inputs. Default 400.
    #[serde(default = "default_inputs_days")]
    pub inputs_days: u32,
}

/// Settings that an earlier release stored do not have the key.
const fn default_inputs_days() -> u32 {
    400
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { records_days: 400, results_days: 30, inputs_days: default_inputs_days() }
    }
}

/// `[restatement]`: when a figure of a later run of the same date is another figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RestatementSettings {
    /// The relative difference up to which two figures are the same, from 0 to 1. Default 1e-9.
    pub tolerance: f64,
}

impl Default for RestatementSettings {
    fn default() -> Self {
        Self { tolerance: domain::night::editions::DEFAULT_TOLERANCE }
    }
}

fn known_schedule(name: &str) -> ScheduleName {
    match ScheduleName::new(name) {
        Ok(name) => name,
        Err(error) => unreachable!("a constant: {error}"),
    }
}
