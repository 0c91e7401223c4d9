//! `process-portfolio`: the portfolios of the messages of one event.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::ports::{JobRunner, Ports, WorkMessage};
use domain::process_portfolio::{Handled, process_portfolio_until};
use domain::redact::redact;
use futures::future::join_all;

use crate::message::{Messages, answer, read};

/// Time before the end of an invocation that is left for giving the portfolio back.
pub const MARGIN: Duration = Duration::from_secs(10);

/// Works on each message alone; gives back what is not finished when only [`MARGIN`] of `remaining` is left.
pub async fn work(ports: &Ports, runner: &dyn JobRunner, event: SqsEvent, remaining: Duration) -> SqsBatchResponse {
    let Messages { readable, unreadable } = read::<WorkMessage>(event);
    let time = remaining.saturating_sub(MARGIN);
    let worked = readable.into_iter().map(|(id, message)| async move {
        if time.is_zero() {
            return Some(id);
        }
        let out_of_time = ports.sleeper.sleep(time);
        match process_portfolio_until(ports, runner, &message, out_of_time).await {
            Ok(Handled::Acknowledge) => None,
            Ok(Handled::GiveBack) => Some(id),
            Err(error) => {
                let text = redact(&format!("{:#}", anyhow::Error::new(error)));
                tracing::error!(
                    batch_run_id = %message.key.run, portfolio_id = %message.key.portfolio, error = %text,
                    event = "message.failed", "a portfolio could not be worked on; its message comes again"
                );
                Some(id)
            }
        }
    });
    let given_back: Vec<String> = join_all(worked).await.into_iter().flatten().collect();
    tracing::debug!(given_back = given_back.len(), unreadable, event = "messages.handled", "an event was worked on");
    answer(given_back)
}
