//! Rendering: a view model in, bytes out, the same for the same.

use askama::Template;
use chrono::NaiveDate;
use domain::ids::ScheduleName;
use domain::night::NightKey;
use domain::ports::{PublishError, SiteFile};
use serde::Serialize;

use crate::assets::{POLICY, SCRIPT, STYLE};
use crate::options::SiteOptions;
use crate::text::visible;
use crate::views::feed::FeedView;
use crate::views::history::{HistoryView, MonthView};
use crate::views::index::IndexView;
use crate::views::job::JobView;
use crate::views::jobs::JobsView;
use crate::views::machine::Badge;
use crate::views::night::NightPage;
use crate::views::portfolio::PortfolioView;
use crate::views::quality::QualityView;
use crate::views::run::{RunListView, RunView};
use crate::views::schemas::SCHEMAS;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// What every page has.
struct Frame {
    /// The site's name.
    site: String,
    /// The page's.
    title: String,
    /// The way to the root: empty, `../` or `../../`.
    root: String,
    /// Which entry of the head this page is.
    nav: &'static str,
    retention: String,
    redacted: bool,
    style: &'static str,
    script: &'static str,
    policy: &'static str,
}

impl Frame {
    fn new(options: &SiteOptions, title: String, depth: usize, nav: &'static str) -> Self {
        Self {
            site: if options.title.is_empty() { "Nightbook".to_owned() } else { visible(&options.title) },
            title,
            root: "../".repeat(depth),
            nav,
            retention: visible(&options.retention_note),
            redacted: options.redacted,
            style: &STYLE,
            script: &SCRIPT,
            policy: &POLICY,
        }
    }
}

macro_rules! page {
    ($(#[$doc:meta])* $name:ident, $path:literal, $view:ty) => {
        $(#[$doc])*
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            frame: Frame,
            v: &'a $view,
        }
    };
}

page!(IndexPage, "index.html", IndexView);
page!(RunPage, "run.html", RunView);
page!(NightHtml, "night.html", NightPage);
page!(PortfolioPage, "portfolio.html", PortfolioView);
page!(RunListPage, "run_list.html", RunListView);
page!(JobPage, "job.html", JobView);
page!(JobsPage, "jobs.html", JobsView);
page!(HistoryPage, "history.html", HistoryView);
page!(MonthPage, "month.html", MonthView);
page!(QualityPage, "quality.html", QualityView);
page!(LostPage, "404.html", str);
page!(FeedPage, "feed.xml", FeedView);

#[derive(Template)]
#[template(path = "badge.svg")]
struct BadgePage<'a> {
    v: &'a Badge,
    left: usize,
    right: usize,
}

fn failed(path: &str, source: impl std::error::Error + Send + Sync + 'static) -> PublishError {
    PublishError::Page { path: path.to_owned(), source: Box::new(source) }
}

fn file(path: String, content_type: &'static str, template: &impl Template) -> Result<SiteFile, PublishError> {
    let body = template.render().map_err(|error| failed(&path, error))?.into_bytes();
    Ok(SiteFile { path, content_type, body })
}

/// A JSON file.
pub(crate) fn json(path: String, value: &impl Serialize) -> Result<SiteFile, PublishError> {
    let mut body = serde_json::to_vec(value).map_err(|error| failed(&path, error))?;
    body.push(b'\n');
    Ok(SiteFile { path, content_type: JSON, body })
}

/// The folder of a portfolio's page. An id that ends in `.json` must not meet the file of another portfolio.
pub(crate) fn portfolio_folder(id: &str) -> String {
    if id.to_ascii_lowercase().ends_with(".json") {
        format!("portfolios/{id}-page")
    } else {
        format!("portfolios/{id}")
    }
}

/// Where the page of a job is.
pub(crate) fn job_path(job: &str) -> String {
    format!("jobs/{job}/index.html")
}

/// Where the page of a night is.
pub(crate) fn night_path(series: &ScheduleName, as_of: NaiveDate) -> String {
    NightKey { series: series.clone(), as_of }.page()
}

/// The page of a night.
pub(crate) fn night(view: &NightPage, key: &NightKey, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let path = night_path(&key.series, key.as_of);
    let frame = Frame::new(options, format!("Night of {}", key.as_of), path.matches('/').count(), "history");
    file(path, HTML, &NightHtml { frame, v: view })
}

/// Where the page of a month is.
pub(crate) fn month_path(month: &str) -> String {
    format!("history/{month}.html")
}

pub(crate) fn index(view: &IndexView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, "Status".into(), 0, "status");
    file("index.html".into(), HTML, &IndexPage { frame, v: view })
}

pub(crate) fn run(view: &RunView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, format!("Run {} of {}", view.short, view.as_of), 2, "history");
    file(format!("runs/{}/index.html", view.id), HTML, &RunPage { frame, v: view })
}

/// A page of the split list of portfolios of a run.
pub(crate) fn run_list(view: &RunListView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let title = format!("Portfolios {} to {} of run {}", view.first(), view.last(), view.short);
    let frame = Frame::new(options, title, 2, "history");
    file(format!("runs/{}/portfolios-{}.html", view.id, view.number), HTML, &RunListPage { frame, v: view })
}

/// A plain text.
pub(crate) fn text(path: String, body: String) -> SiteFile {
    SiteFile { path, content_type: "text/plain; charset=utf-8", body: body.into_bytes() }
}

/// The schemas of the files for machines.
pub(crate) fn schemas() -> impl Iterator<Item = SiteFile> {
    SCHEMAS.iter().map(|(name, text)| SiteFile {
        path: format!("schemas/{name}"),
        content_type: JSON,
        body: text.as_bytes().to_vec(),
    })
}

pub(crate) fn portfolio(view: &PortfolioView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, format!("Portfolio {}", view.id), 2, "status");
    file(format!("{}/index.html", portfolio_folder(view.id.as_str())), HTML, &PortfolioPage { frame, v: view })
}

pub(crate) fn job(view: &JobView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, format!("Job {}", view.job), 2, "jobs");
    file(job_path(view.job.as_str()), HTML, &JobPage { frame, v: view })
}

pub(crate) fn jobs(view: &JobsView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, "Jobs".into(), 1, "jobs");
    file("jobs/index.html".into(), HTML, &JobsPage { frame, v: view })
}

pub(crate) fn history(view: &HistoryView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, "History".into(), 1, "history");
    file("history/index.html".into(), HTML, &HistoryPage { frame, v: view })
}

pub(crate) fn month(view: &MonthView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, view.title.clone(), 1, "history");
    file(month_path(&view.month), HTML, &MonthPage { frame, v: view })
}

pub(crate) fn quality(view: &QualityView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, "Data quality".into(), 1, "quality");
    file("quality/index.html".into(), HTML, &QualityPage { frame, v: view })
}

/// The page for addresses that lead nowhere. It may be shown at any depth, so its links start at the base.
pub(crate) fn lost(options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let mut frame = Frame::new(options, "Not found".into(), 0, "");
    frame.root = format!("{}/", options.base_url.as_deref().unwrap_or_default().trim_end_matches('/'));
    file("404.html".into(), HTML, &LostPage { frame, v: "" })
}

pub(crate) fn feed(view: &FeedView, options: &SiteOptions) -> Result<SiteFile, PublishError> {
    let frame = Frame::new(options, view.title.clone(), 0, "");
    file("feed.xml".into(), "application/atom+xml; charset=utf-8", &FeedPage { frame, v: view })
}

/// A badge as a drawing.
pub(crate) fn badge(path: String, view: &Badge) -> Result<SiteFile, PublishError> {
    // Wide enough for most faces; the text is squeezed into it by textLength.
    let width = |text: &str| text.chars().count() * 7 + 12;
    let page = BadgePage { left: width(&view.label), right: width(&view.message), v: view };
    file(path, "image/svg+xml", &page)
}
