//! A single-threaded executor over simulated time: the same seed gives the same order of everything.
//!
//! Nothing waits on the machine's clock. All waiting is on the [`Timeline`], which jumps to whatever is due next; two
//! things due at the same instant come in the order in which they were asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Simulated microseconds since the simulation began.
pub type Micros = i64;

/// One second, in simulated microseconds.
pub const SECOND: Micros = 1_000_000;

/// Something that is due at an instant.
enum Due {
    /// Somebody's wait is over; the number of the entry says whose.
    Wake,
    Do(Box<dyn FnOnce() + Send>),
}

struct Entry {
    at: Micros,
    number: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[derive(Default)]
struct Timers {
    now: Micros,
    number: u64,
    heap: BinaryHeap<Reverse<Entry>>,
    /// Who waits for which entry.
    waiting: BTreeMap<u64, Waker>,
}

/// Simulated time and what is due on it. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Timeline {
    timers: Arc<Mutex<Timers>>,
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Timeline {
    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The simulated time.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.lock().now
    }

    fn add(&self, at: Micros, due: Due) -> u64 {
        let mut timers = self.lock();
        let number = timers.number;
        timers.number += 1;
        timers.heap.push(Reverse(Entry { at, number, due }));
        number
    }

    /// Does something after this time.
    pub fn after(&self, time: Micros, act: impl FnOnce() + Send + 'static) {
        let at = self.now() + time;
        self.add(at, Due::Do(Box::new(act)));
    }

    /// Waits for this time.
    #[must_use]
    pub fn wait(&self, time: Micros) -> Wait {
        Wait { timeline: self.clone(), at: self.now() + time.max(0), entry: None }
    }

    /// Forgets everything that is due: it holds the world that holds this.
    pub fn clear(&self) {
        let forgotten = {
            let mut timers = self.lock();
            (std::mem::take(&mut timers.heap), std::mem::take(&mut timers.waiting))
        };
        // What is dropped may look at the time, so not under the lock.
        drop(forgotten);
    }

    /// Jumps to what is due next and lets it happen. False when nothing is.
    fn advance(&self) -> bool {
        let next = {
            let mut timers = self.lock();
            let Some(Reverse(next)) = timers.heap.pop() else { return false };
            timers.now = timers.now.max(next.at);
            match next.due {
                Due::Do(act) => act,
                Due::Wake => match timers.waiting.remove(&next.number) {
                    Some(waker) => Box::new(move || waker.wake()),
                    None => return true,
                },
            }
        };
        next();
        true
    }
}

/// Waiting on a [`Timeline`].
#[derive(Debug)]
pub struct Wait {
    timeline: Timeline,
    at: Micros,
    entry: Option<u64>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.timeline.lock().waiting.remove(&entry);
        }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Also a wait of no time gives way once, so that others may come in between.
        if self.entry.is_some() && self.timeline.now() >= self.at {
            return Poll::Ready(());
        }
        let entry = self.entry.unwrap_or_else(|| self.timeline.add(self.at, Due::Wake));
        self.entry = Some(entry);
        self.timeline.lock().waiting.insert(entry, context.waker().clone());
        Poll::Pending
    }
}

/// Which task is to be polled next.
#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<u64>>,
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut queue = self.ready.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.contains(&self.task) {
            queue.push_back(self.task);
        }
    }
}

/// A future that an actor runs.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    actor: usize,
    work: Work,
    waker: Waker,
}

/// Runs tasks of actors until nothing is due any more, or its owner has seen enough.
#[derive(Default)]
pub struct Executor {
    timeline: Timeline,
    ready: Arc<Ready>,
    tasks: BTreeMap<u64, Task>,
    next: u64,
    /// Polls so far.
    pub steps: u64,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Executor {
    /// An executor on this timeline.
    #[must_use]
    pub fn new(timeline: Timeline) -> Self {
        Self { timeline, ..Self::default() }
    }

    /// Starts the work of an actor.
    pub fn spawn(&mut self, actor: usize, work: Work) {
        let task = self.next;
        self.next += 1;
        let waker = Waker::from(Arc::new(TaskWaker { task, ready: Arc::clone(&self.ready) }));
        waker.wake_by_ref();
        self.tasks.insert(task, Task { actor, work, waker });
    }

    /// One step: polls a task that is ready, or else jumps to what is due next. False when there is neither.
    ///
    /// A task whose actor `is_dead` afterwards is dropped, and never polled again.
    pub fn step(&mut self, is_dead: impl Fn(usize) -> bool) -> bool {
        let next = self.ready.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(id) = next else { return self.timeline.advance() };
        let Some(task) = self.tasks.get_mut(&id) else { return true };
        self.steps += 1;
        let over = is_dead(task.actor)
            || task.work.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready()
            || is_dead(task.actor);
        if over {
            self.tasks.remove(&id);
        }
        true
    }
}
