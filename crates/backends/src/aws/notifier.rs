//! Alerts by SNS: the whole alert as JSON, the same as the command of the embedded notifier reads.

use async_trait::async_trait;
use aws_sdk_sns::error::DisplayErrorContext;
use aws_sdk_sns::types::MessageAttributeValue;
use domain::alert::RunAlert;
use domain::ports::Notifier;
use domain::record::JobError;
use domain::words::ErrorCategory;

/// Characters that a subject may have.
const SUBJECT: usize = 100;

/// Publishes to a topic.
#[derive(Debug, Clone)]
pub(super) struct SnsNotifier {
    pub(super) sns: aws_sdk_sns::Client,
    pub(super) topic: String,
    pub(super) base: String,
}

/// A line that the service takes as a subject: printable ASCII, and not too long.
pub(super) fn subject(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(SUBJECT).collect()
}

#[async_trait]
impl Notifier for SnsNotifier {
    fn site_base(&self) -> String {
        self.base.clone()
    }

    async fn notify(&self, alert: &RunAlert) -> Result<(), JobError> {
        let internal = |error: &dyn std::error::Error| JobError::from_error(ErrorCategory::Internal, error);
        let text = |value: &str| MessageAttributeValue::builder().data_type("String").string_value(value).build();
        let body = serde_json::to_string(alert).map_err(|error| internal(&error))?;
        let request = self
            .sns
            .publish()
            .topic_arn(&self.topic)
            .subject(subject(&format!("Nightbook {}: {}", alert.as_of, alert.verdict)))
            .message(body)
            .message_attributes("alert_id", text(&alert.alert_id).map_err(|error| internal(&error))?)
            .message_attributes("status", text(&alert.status.to_string()).map_err(|error| internal(&error))?);
        request.send().await.map(|_| ()).map_err(|error| {
            let told = format!("the alert topic took no message: {}", DisplayErrorContext(&error));
            JobError::new(ErrorCategory::Transient, told)
        })
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
