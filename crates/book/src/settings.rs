//! `nightbook.toml` as data, with the default of every setting.

use domain::alert_rules::{AlertRules, ChannelKind, ChannelSpec, Severity};
use domain::ids::{ChannelName, JobName, ScheduleName};
use domain::job_program::JobProgram;
use domain::words::JobType;
use domain::zone::Zone;
use serde::{Deserialize, Serialize};

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
}

/// `[prices]` with `source = "http"`: where closes come from that the book does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPriceSettings {
    /// The address, with `{symbol}` or `{symbols}`, `{from}` and `{to}` (or `{from_compact}`, `{to_compact}`: without
    /// dashes), and perhaps `{key}`.
    pub url: String,
    /// A header with the key, for example `Authorization: Bearer {key}`. Default: none.
    pub header: Option<String>,
    /// The environment variable that holds the key. Default: none.
    pub key_env: Option<String>,
    /// The form of the answer. Default `csv`.
    pub form: AnswerForm,
    /// Of a JSON answer: where the list of days is, names with dots between. Default: the answer itself.
    pub rows_path: String,
    /// The column or name of the date; `@key` where the dates are the names. Default `date`.
    pub date_field: String,
    /// The column or name of the split-adjusted close. Default `close`.
    pub close_field: String,
    /// The column or name of the symbol; needed for more than one symbol a request. Default: none.
    pub symbol_field: Option<String>,
    /// Symbols in one request. Default 1, and 50 with `{symbols}`.
    pub batch_size: u32,
    /// Requests a minute at most. Default 60.
    pub requests_per_minute: u32,
    /// What one request may take. Default 20.
    pub timeout_seconds: u32,
    /// What all of them may take. Default 900.
    pub total_seconds: u32,
}

impl Default for HttpPriceSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            header: None,
            key_env: None,
            form: AnswerForm::Csv,
            rows_path: String::new(),
            date_field: "date".to_owned(),
            close_field: "close".to_owned(),
            symbol_field: None,
            batch_size: 1,
            requests_per_minute: 60,
            timeout_seconds: 20,
            total_seconds: 900,
        }
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerForm {
    /// A table with a header line.
    Csv,
    /// JSON.
    Json,
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
            alerts: AlertSettings::default(),
            added_jobs: Vec::new(),
            lineage: LineageSettings::default(),
            http_prices: None,
        }
    }
}

/// One of `[[jobs]]`: a job that is a program of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedJob {
    /// Its name, which is also that of its part of the results document.
    pub name: JobName,
    /// Its family. Default `risk_metrics`.
    pub job_type: JobType,
    /// What is called.
    pub program: JobProgram,
    /// Jobs that must have succeeded first; their results are handed to the program.
    pub needs: Vec<JobName>,
    /// Whether its failure skips the jobs after it. Default no.
    pub critical: bool,
    /// What an attempt may take. Default: `job_timeout_seconds` of `[run]`.
    pub time_limit_seconds: Option<u32>,
}

/// Names that a job of one's own cannot have: parts of the results document.
pub const TAKEN_NAMES: [&str; 8] =
    ["positions", "aggregation", "greeks", "factors", "market_risk", "stress", "snapshot", "correlations"];

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
    /// Whether each portfolio has badges of its own. Default no.
    // Pinned inputs of older releases do not have it.
    #[serde(default)]
    pub portfolio_badges: bool,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self { title: "Nightbook".to_owned(), base_url: None, detail: Detail::Full, portfolio_badges: false }
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
        }
    }
}

/// A factor and the symbol whose returns stand for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// For example "Low Volatility".
    pub name: String,
    /// For example "USMV".
    pub proxy: String,
}

const DEFAULT_FACTORS: [(&str, &str); 8] = [
    ("Market", "SPY"),
    ("Value", "VTV"),
    ("Growth", "VUG"),
    ("Momentum", "MTUM"),
    ("Quality", "QUAL"),
    ("Size", "IWM"),
    ("Low Volatility", "USMV"),
    ("Interest Rate", "TLT"),
];

/// The factors of a book that names none.
#[must_use]
pub fn default_factors() -> Vec<Factor> {
    let factor = |(name, proxy): (&str, &str)| Factor { name: name.to_owned(), proxy: proxy.to_owned() };
    DEFAULT_FACTORS.into_iter().map(factor).collect()
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
        }
    }
}

/// All jobs of a portfolio, in the one order that respects their needs.
pub const JOBS: [&str; 9] = domain::job::BUILT_IN;

/// The jobs that a job needs: without them in the list, and before it, it could never run.
#[must_use]
pub fn needs_of(job: &str) -> &'static [&'static str] {
    match job {
        "position_values_update" | "greeks_calculation" => &["market_data_update"],
        "portfolio_aggregation" | "portfolio_snapshot" | "position_correlations" => &["position_values_update"],
        "factor_analysis" => &["market_data_update", "portfolio_aggregation"],
        "market_risk_scenarios" | "stress_testing" => &["factor_analysis"],
        _ => &[],
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

/// One stress scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Unique among the scenarios: 1 to 64 of `a-z 0-9 _ -`.
    pub id: String,
    /// As the pages show it.
    pub name: String,
    /// For example `market`, `rates`, `rotation`, `volatility`, `historical`.
    pub category: String,
    /// `mild`, `moderate`, `severe` or `extreme`.
    pub severity: String,
    /// The shocked factors, in the order of the file.
    pub shocks: Vec<Shock>,
}

/// What a scenario does to one factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shock {
    /// The factor's name, as `[factors]` spells it.
    pub factor: String,
    /// A return as a fraction; for the factor that `[rates]` names, a change of yield (0.01 is 100 basis points).
    pub change: f64,
}

type DefaultScenario = (&'static str, &'static str, &'static str, &'static str, &'static [(&'static str, f64)]);

/// The rate scenarios are changes of yield.
#[rustfmt::skip]
const DEFAULT_SCENARIOS: [DefaultScenario; 18] = [
    ("market_up_10", "Market up 10 %", "market", "moderate", &[("Market", 0.10)]),
    ("market_down_10", "Market down 10 %", "market", "moderate", &[("Market", -0.10)]),
    ("market_crash_35", "Market crash of 35 %", "market", "severe", &[("Market", -0.35)]),
    ("market_rally_25", "Market rally of 25 %", "market", "severe", &[("Market", 0.25)]),
    ("rates_up_25bp", "Rates up 25 bp", "rates", "mild", &[("Interest Rate", 0.0025)]),
    ("rates_down_25bp", "Rates down 25 bp", "rates", "mild", &[("Interest Rate", -0.0025)]),
    ("rates_up_100bp", "Rates up 100 bp", "rates", "moderate", &[("Interest Rate", 0.01)]),
    ("rates_down_100bp", "Rates down 100 bp", "rates", "moderate", &[("Interest Rate", -0.01)]),
    ("rate_spike_300bp", "Rate spike of 300 bp", "rates", "severe", &[("Interest Rate", 0.03)]),
    ("value_rotation_20", "Rotation into value", "rotation", "moderate", &[("Value", 0.20), ("Growth", -0.10)]),
    ("growth_rally_15", "Growth rally of 15 %", "rotation", "moderate", &[("Growth", 0.15), ("Momentum", 0.10)]),
    ("small_cap_outperformance_10", "Small caps ahead by 10 %", "rotation", "mild", &[("Size", 0.10)]),
    ("quality_flight_12", "Flight to quality", "rotation", "mild", &[("Quality", 0.12), ("Market", -0.05)]),
    ("vix_spike_150", "Volatility spike of 150 %", "volatility", "severe", &[("Low Volatility", -0.25), ("Market", -0.15)]),
    ("liquidity_crisis", "Liquidity crisis", "volatility", "severe",
        &[("Market", -0.20), ("Low Volatility", -0.30), ("Quality", 0.15), ("Size", -0.10)]),
    ("financial_crisis_2008", "Financial crisis of 2008", "historical", "extreme",
        &[("Market", -0.45), ("Value", -0.30), ("Size", -0.25), ("Quality", 0.20), ("Low Volatility", -0.35)]),
    ("covid_crash_2020", "Covid crash of 2020", "historical", "extreme",
        &[("Market", -0.35), ("Growth", 0.15), ("Value", -0.40), ("Size", -0.30), ("Quality", 0.10)]),
    ("dotcom_crash_2000", "Dot-com crash of 2000", "historical", "extreme",
        &[("Market", -0.45), ("Growth", -0.60), ("Value", 0.20), ("Momentum", -0.50), ("Quality", 0.15)]),
];

/// The scenarios of a book that has none of its own.
#[must_use]
pub fn default_scenarios() -> Vec<Scenario> {
    let scenario = |(id, name, category, severity, shocks): DefaultScenario| Scenario {
        id: id.to_owned(),
        name: name.to_owned(),
        category: category.to_owned(),
        severity: severity.to_owned(),
        shocks: shocks.iter().map(|&(factor, change)| Shock { factor: factor.to_owned(), change }).collect(),
    };
    DEFAULT_SCENARIOS.into_iter().map(scenario).collect()
}

/// `[retention]`: how long things are kept, from the time they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionSettings {
    /// Job records. Default 400.
    pub records_days: u32,
    /// Full results. Default 30.
    pub results_days: u32,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { records_days: 400, results_days: 30 }
    }
}

/// `[alerts]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AlertSettings {
    /// A program and its arguments, started with the alert as JSON on its input. Default: none.
    ///
    /// The file may give a list, or one text, which the shell runs: `["sh", "-c", text]`.
    pub command: Option<Vec<String>>,
    /// When people are told.
    // Pinned inputs and kept settings of older releases do not have it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rules: AlertRules,
    /// `[[alerts.channel]]`, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelSpec>,
}

fn is_default(rules: &AlertRules) -> bool {
    *rules == AlertRules::default()
}

/// The name of the channel that `command` of `[alerts]` is.
pub const COMMAND_CHANNEL: &str = "command";

/// What the command of an alert may take, unless its channel says otherwise, in seconds.
pub const COMMAND_SECONDS: u32 = 60;

impl AlertSettings {
    /// The rules, as the channels complete them: a `command` alone, from before there were channels, gets no digests
    /// unless the settings ask for them.
    #[must_use]
    pub fn rules_in_force(&self) -> AlertRules {
        let digest = self.rules.digest.unwrap_or(!self.channels.is_empty());
        AlertRules { digest: Some(digest), ..self.rules.clone() }
    }

    /// All channels: those of `[[alerts.channel]]`, and the one that `command` is.
    #[must_use]
    pub fn all_channels(&self) -> Vec<ChannelSpec> {
        let command = self.command.as_ref().and_then(|command| {
            let kind = ChannelKind::Command { command: command.clone(), timeout_seconds: COMMAND_SECONDS };
            Some(ChannelSpec { name: ChannelName::new(COMMAND_CHANNEL).ok()?, min_severity: Severity::Info, kind })
        });
        command.into_iter().chain(self.channels.iter().cloned()).collect()
    }
}

fn known_schedule(name: &str) -> ScheduleName {
    match ScheduleName::new(name) {
        Ok(name) => name,
        Err(error) => unreachable!("a constant: {error}"),
    }
}

pub(crate) fn known_job(name: &str) -> JobName {
    match JobName::new(name) {
        Ok(name) => name,
        Err(error) => unreachable!("a constant: {error}"),
    }
}
