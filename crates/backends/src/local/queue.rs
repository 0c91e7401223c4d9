//! Messages in process. What is lost with the process is found again by `domain::watch`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
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
    closed: AtomicBool,
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

    /// Ends the queue: nobody receives anything any more. What waits in it is found again by `domain::watch`.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.news.notify_one();
    }

    /// The next message; waits for one. None once the queue is closed.
    pub async fn receive(&self) -> Option<Message> {
        loop {
            let news = self.shared.news.notified();
            if self.shared.closed.load(Ordering::Acquire) {
                // Everybody who waits must hear of it, one after the other.
                self.shared.news.notify_one();
                return None;
            }
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

    async fn waiting_work(&self) -> Result<Option<u64>, StoreError> {
        let waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(waiting.iter().filter(|message| matches!(message, Message::Work(_))).count() as u64))
    }

    async fn send_close(&self, run: RunId) -> Result<(), StoreError> {
        self.push([Message::Close(run)]);
        Ok(())
    }

    async fn send_pages(&self, run: RunId, _buckets: Vec<u32>) -> Result<(), StoreError> {
        let source = "one process publishes a run as a whole".into();
        Err(StoreError::Unavailable { doing: format!("ask for pages of run {run}"), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::RunId;
    use uuid::Uuid;

    fn close(n: u128) -> Message {
        Message::Close(RunId(Uuid::from_u128(n)))
    }

    #[tokio::test]
    async fn messages_come_in_order_and_each_to_one_receiver() {
        let queue = LocalQueue::new();
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn({
                    let queue = queue.clone();
                    async move { queue.receive().await }
                })
            })
            .collect();
        for n in 0..5 {
            queue.send_close(RunId(Uuid::from_u128(n))).await.unwrap();
        }
        let mut received = Vec::new();
        for receiver in receivers {
            received.push(receiver.await.unwrap().unwrap());
        }
        received.push(queue.receive().await.unwrap());
        for n in 0..5 {
            assert!(received.contains(&close(n)), "{received:?}");
        }
    }

    #[tokio::test]
    async fn a_closed_queue_lets_everybody_go() {
        let queue = LocalQueue::new();
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn({
                    let queue = queue.clone();
                    async move { queue.receive().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for receiver in receivers {
            assert_eq!(receiver.await.unwrap(), None);
        }
        queue.give_back(close(1), Duration::ZERO);
        assert_eq!(queue.receive().await, None);
    }
}
