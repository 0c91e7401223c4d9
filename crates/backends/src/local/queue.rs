//! Messages in process. What is lost with the process is found again by `domain::watch`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::ids::RunId;
use domain::ports::{StoreError, WorkMessage, WorkQueue};
use tokio::sync::Notify;

/// A message, as the workers receive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Process this portfolio.
    Work(WorkMessage),
    /// Close this run.
    Close(RunId),
}

/// A queue of this process. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct LocalQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<VecDeque<Message>>,
    news: Notify,
}

impl LocalQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn push(&self, messages: impl IntoIterator<Item = Message>) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(messages);
        self.shared.news.notify_one();
    }

    /// The next message; waits for one.
    pub async fn receive(&self) -> Option<Message> {
        loop {
            let news = self.shared.news.notified();
            let (next, more) = {
                let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                (waiting.pop_front(), !waiting.is_empty())
            };
            if more {
                self.shared.news.notify_one();
            }
            if next.is_some() {
                return next;
            }
            news.await;
        }
    }

    /// Puts a message back, to come again after a while.
    pub fn give_back(&self, message: Message, after: Duration) {
        let queue = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            queue.push([message]);
        });
    }
}

#[async_trait]
impl WorkQueue for LocalQueue {
    async fn send_work(&self, messages: Vec<WorkMessage>) -> Result<(), StoreError> {
        self.push(messages.into_iter().map(Message::Work));
        Ok(())
    }

    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        self.push([Message::Close(run)]);
        Ok(())
    }
}
