//! The commands, one file each.

pub(crate) mod accept;
pub(crate) mod alert;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod deadletters;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod failures;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod last;
pub(crate) mod needed;
pub(crate) mod night;
pub(crate) mod publish;
pub(crate) mod rerun;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod show;
