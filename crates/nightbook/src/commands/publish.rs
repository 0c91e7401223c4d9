//! `nightbook publish`: the site again, for the newest run or all of it.

use std::path::Path;
use std::process::ExitCode;

use app::{PublishRequest, Published, publish_site};
#[cfg(feature = "aws")]
use domain::ports::Ports;
use serde_json::json;
#[cfg(feature = "aws")]
use site::SitePublisher;

use crate::book_folder::read_usable;
use crate::control::client::{Outcome, connect, unexpected};
use crate::control::protocol::Command;
use crate::engine::Engine;
use crate::exit::NotPublished;
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
    let request = PublishRequest { rebuild };
    let (published, site) = match Engine::open(data, settings, None, stop.clone()).await {
        Ok(engine) => (publish_site(&engine.ports, &engine.publisher(), &request).await?, engine.site_folder()),
        Err(error) => {
            let command = Command::Publish { book: book.map(std::path::absolute).transpose()?, request };
            match connect(data, error).await?.request(data, command, stop, |_| ()).await? {
                Outcome::Published(published) => (published, data.join("site")),
                outcome => return Err(unexpected(&outcome)),
            }
        }
    };
    report(&published, &site.join("index.html").display().to_string(), output)
}

/// Writes the site of a table: every page, or what is missing of the newest runs. `index` is where its index is.
#[cfg(feature = "aws")]
pub(crate) async fn write(
    ports: &Ports,
    publisher: &SitePublisher,
    rebuild: bool,
    index: &str,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    report(&publish_site(ports, publisher, &PublishRequest { rebuild }).await?, index, output)
}

/// Prints what was published; a publication that failed is an error.
fn report(published: &Published, index: &str, output: &Output) -> anyhow::Result<ExitCode> {
    if let Some(failed) = &published.failed {
        return Err(NotPublished(failed.error.clone()).into());
    }
    let written = published.files_written;
    if output.is_json() {
        output.json(&json!({ "files_written": written, "index": index }))?;
    } else {
        output.line(&format!("{written} files written, the rest was up to date: {index}"));
    }
    Ok(ExitCode::SUCCESS)
}
