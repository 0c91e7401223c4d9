//! `[alerts]`: when people are notified, and through which channels.

use domain::alert_rules::{AlertRules, ChannelKind, ChannelSpec, Severity};
use domain::ids::ChannelName;
use serde::{Deserialize, Serialize};

/// `[alerts]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AlertSettings {
    /// A program and its arguments, started with the alert as JSON on its input. Default: none.
    ///
    /// The file may give a list, or one text, which the shell runs: `["sh", "-c", text]`.
    pub command: Option<Vec<String>>,
    /// When people are told.
    // Pinned inputs and kept settings of older releases do not have it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rules: AlertRules,
    /// `[[alerts.channel]]`, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelSpec>,
}

fn is_default(rules: &AlertRules) -> bool {
    *rules == AlertRules::default()
}

/// The name of the channel that `command` of `[alerts]` is.
pub const COMMAND_CHANNEL: &str = "command";

/// What the command of an alert may take, unless its channel says otherwise, in seconds.
pub const COMMAND_SECONDS: u32 = 60;

impl AlertSettings {
    /// The rules, as the channels complete them: a `command` alone, from before there were channels, gets no digests
    /// unless the settings ask for them.
    #[must_use]
    pub fn rules_in_force(&self) -> AlertRules {
        let digest = self.rules.digest.unwrap_or(!self.channels.is_empty());
        AlertRules { digest: Some(digest), ..self.rules.clone() }
    }

    /// All channels: those of `[[alerts.channel]]`, and the one that `command` is.
    #[must_use]
    pub fn all_channels(&self) -> Vec<ChannelSpec> {
        let command = self.command.as_ref().and_then(|command| {
            let kind =
                ChannelKind::Command { command: command.clone(), timeout_seconds: COMMAND_SECONDS, env: Vec::new() };
            Some(ChannelSpec { name: ChannelName::new(COMMAND_CHANNEL).ok()?, min_severity: Severity::Info, kind })
        });
        command.into_iter().chain(self.channels.iter().cloned()).collect()
    }
}
