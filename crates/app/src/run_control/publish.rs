//! The decision on which runs are published again.

use domain::close_run::publish;
use domain::ports::{Ports, RunQuery};
use domain::run::Publication;
use site::SitePublisher;

use crate::error::ControlError;
use crate::requests::{PublicationFailure, PublishRequest, Published};

/// Runs that are looked through for pages that are missing.
const LOOK_BACK: usize = 100;

/// Publishes the newest closed run and every recent one whose pages are missing; a rebuild writes all pages first.
///
/// # Errors
/// The store. A publication that failed is part of the outcome, and ends it.
pub async fn publish_site(
    ports: &Ports,
    publisher: &SitePublisher,
    request: &PublishRequest,
) -> Result<Published, ControlError> {
    let mut published = Published::default();
    if request.rebuild {
        match publisher.rebuild().await {
            Ok(files) => published.files_written = files,
            Err(error) => {
                published.failed = Some(PublicationFailure { run: None, error: causes(&error) });
                return Ok(published);
            }
        }
    }
    let page = ports.store.runs(&RunQuery { limit: LOOK_BACK, ..RunQuery::default() }).await?;
    let closed = page.runs.iter().filter(|stored| stored.run.is_closed());
    let again = closed.enumerate().filter(|(at, stored)| {
        (*at == 0 && !request.rebuild) || !matches!(stored.run.publication, Publication::Published { .. })
    });
    for (_, stored) in again {
        match publish(ports, publisher, &stored.run).await? {
            Publication::Published { files_written, .. } => published.files_written += files_written,
            Publication::Failed { error, .. } => {
                published.failed = Some(PublicationFailure { run: Some(stored.run.batch_run_id), error });
                return Ok(published);
            }
            Publication::Pending | Publication::UnderWay { .. } => {}
        }
    }
    Ok(published)
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let whole = causes.fold(error.to_string(), |whole, cause| format!("{whole}: {cause}"));
    domain::redact::redact(&whole)
}
