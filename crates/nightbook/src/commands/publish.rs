//! `nightbook publish`: the site again, for the newest run or all of it.

use std::path::Path;
use std::process::ExitCode;

use domain::close_run::publish;
use domain::ports::{Ports, RunQuery};
use domain::run::Publication;
use serde_json::json;
use site::SitePublisher;

use crate::book_folder::read_usable;
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
    #[cfg(feature = "aws")]
    if let Some(table) = crate::place::table(data) {
        let book = book.map(read_usable).transpose()?;
        return crate::cloud::Cloud::connect(table).await?.publish(rebuild, book.as_ref(), output).await;
    }
    reading::open_folder(data)?;
    let settings = match book {
        Some(book) => SiteSettings::of(&read_usable(book)?, book),
        None => SiteSettings::kept(data),
    };
    let engine = Engine::open(data, settings.clone(), None, stop).await?;
    settings.keep(data)?;
    let index = engine.site_folder().join("index.html").display().to_string();
    write(&engine.ports, &engine.publisher(), rebuild, &index, output).await
}

/// Writes the site: every page, or what is missing of the newest runs. `index` is where its index is.
pub(crate) async fn write(
    ports: &Ports,
    publisher: &SitePublisher,
    rebuild: bool,
    index: &str,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let written = if rebuild {
        publisher.rebuild().await?
    } else {
        let mut written = 0;
        let page = ports.store.runs(&RunQuery { limit: 100, ..RunQuery::default() }).await?;
        let closed = page.runs.iter().filter(|stored| stored.run.is_closed());
        let again = closed
            .enumerate()
            .filter(|(at, stored)| *at == 0 || !matches!(stored.run.publication, Publication::Published { .. }));
        for (_, stored) in again {
            match publish(ports, publisher, &stored.run).await? {
                Publication::Published { files_written, .. } => written += files_written,
                Publication::Failed { error, .. } => {
                    output.line(&format!("not published: {error}"));
                    return Ok(STORE.into());
                }
                Publication::Pending | Publication::UnderWay { .. } => {}
            }
        }
        written
    };
    if output.is_json() {
        output.json(&json!({ "files_written": written, "index": index }))?;
    } else {
        output.line(&format!("{written} files written, the rest was up to date: {index}"));
    }
    Ok(ExitCode::SUCCESS)
}
