//! Processes that are ended with all they leave behind.

use rustix::process::{Pid, Signal, kill_process_group};

/// A process group, ended when it is dropped: a program that was started as its leader, and whatever it left behind in
/// it.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group that the process with this id leads.
    pub(crate) fn led_by(id: Option<u32>) -> Self {
        Self(id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error means that nobody is left.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
