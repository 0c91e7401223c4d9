//! The alert topic as a channel of the alert rules: the whole message as JSON, as a webhook gets it.

use async_trait::async_trait;
use aws_sdk_sns::error::DisplayErrorContext;
use aws_sdk_sns::types::MessageAttributeValue;
use domain::alert_message::AlertMessage;
use domain::alert_rules::Severity;
use domain::ids::ChannelName;
use domain::ports::{AlertChannel, ChannelError};

/// Its name where channels are listed.
const NAME: &str = "topic";

/// Characters that a subject may have.
const SUBJECT: usize = 100;

/// A line that the service takes as a subject: printable ASCII, and not too long.
fn subject(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(SUBJECT).collect()
}

/// Publishes to a topic.
#[derive(Debug)]
pub(super) struct Topic {
    sns: aws_sdk_sns::Client,
    topic: String,
    name: ChannelName,
}

impl Topic {
    pub(super) fn new(sns: aws_sdk_sns::Client, topic: String) -> Self {
        match ChannelName::new(NAME) {
            Ok(name) => Self { sns, topic, name },
            Err(error) => unreachable!("a constant: {error}"),
        }
    }
}

#[async_trait]
impl AlertChannel for Topic {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    fn min_severity(&self) -> Severity {
        Severity::Info
    }

    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        let failed = |message: String| ChannelError { message, retry_after: None, is_final: false };
        let text = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build();
        let attribute = |value: &str| text(value).map_err(|error| failed(error.to_string()));
        let body = serde_json::to_string(message).map_err(|error| failed(error.to_string()))?;
        let request = self
            .sns
            .publish()
            .topic_arn(&self.topic)
            .subject(subject(&message.title))
            .message(body)
            .message_attributes("alert_id", attribute(&message.alert_id)?)
            .message_attributes("status", attribute(&message.status.to_string())?);
        let reply = request.send().await;
        reply
            .map(|_| ())
            .map_err(|error| failed(format!("the alert topic took no message: {}", DisplayErrorContext(&error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_short_line_of_ascii() {
        assert_eq!(subject("3 of 8 jobs — failed\nnow"), "3 of 8 jobs ? failed?now");
        assert_eq!(subject(&"ä".repeat(500)).len(), SUBJECT);
    }
}
