//! `nightbook publish`: the site again, for the newest run or all of it.

use std::path::Path;
use std::process::ExitCode;

use domain::close_run::publish;
use domain::ports::{RunQuery, RunStore as _};
use domain::run::Publication;
use serde_json::json;

use crate::commands::run::read_usable;
use crate::engine::Engine;
use crate::exit::STORE;
use crate::output::Output;
use crate::reading;
use crate::site_settings::SiteSettings;
use crate::stop::Stop;

/// Runs the command.
pub(crate) async fn run(
    data: &Path,
    rebuild: bool,
    book: Option<&Path>,
    output: &Output,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    reading::open(data)?;
    let settings = match book {
        Some(book) => SiteSettings::of(&read_usable(book)?, book),
        None => SiteSettings::kept(data),
    };
    let engine = Engine::open(data, settings.clone(), None, stop).await?;
    settings.keep(data)?;
    let written = if rebuild {
        engine.publisher().rebuild().await?
    } else {
        let mut written = 0;
        let page = engine.store.runs(&RunQuery { limit: 100, ..RunQuery::default() }).await?;
        let closed = page.runs.iter().filter(|stored| stored.run.is_closed());
        let again = closed
            .enumerate()
            .filter(|(at, stored)| *at == 0 || !matches!(stored.run.publication, Publication::Published { .. }));
        for (_, stored) in again {
            match publish(&engine.ports, &engine.publisher(), &stored.run).await? {
                Publication::Published { files_written, .. } => written += files_written,
                Publication::Failed { error, .. } => {
                    output.line(&format!("not published: {error}"));
                    return Ok(STORE.into());
                }
                Publication::Pending => {}
            }
        }
        written
    };
    let index = engine.site_folder().join("index.html");
    if output.is_json() {
        output.json(&json!({ "files_written": written, "index": index }))?;
    } else {
        output.line(&format!("{written} files written, the rest was up to date: {}", index.display()));
    }
    Ok(ExitCode::SUCCESS)
}
