//! Ctrl-C and SIGTERM, as something that can be waited for.

use tokio::sync::watch;

/// Says when the process was asked to stop. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Listens for Ctrl-C and SIGTERM from now on. A second signal ends the process at once.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let (send, asked) = watch::channel(false);
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::spawn(async move {
            let mut signals = 0;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                signals += 1;
                if signals > 1 {
                    std::process::exit(i32::from(crate::exit::INTERRUPTED));
                }
                tracing::info!(
                    event = "process.stopping",
                    "asked to stop: finishing what is in hand, a second signal ends at once"
                );
                // Nobody listens any more: then there is nothing to stop.
                let _ = send.send(true);
            }
        });
        Ok(Self { asked })
    }

    /// Returns once the process was asked to stop.
    pub(crate) async fn stopped(&mut self) {
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
