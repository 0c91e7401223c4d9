//! `[prices]`: where closes come from that the book does not have.

use std::ops::Range;

use super::walk::{Entry, Key, Walk, key};
use super::{Draft, Table};
use crate::portfolios::is_web_address;
use crate::settings::{AnswerForm, HttpPriceSettings};

/// Names between braces that an address may hold.
const PLACES: [&str; 7] = ["{symbol}", "{symbols}", "{from}", "{to}", "{from_compact}", "{to_compact}", "{key}"];

/// Symbols in one request where the address takes several.
const BATCH: u32 = 50;

/// What is read of the source.
#[derive(Default)]
pub(super) struct PricesDraft {
    prices: HttpPriceSettings,
    /// Whether the source is an address; otherwise the files of the book are all there is.
    http: bool,
    url: Option<(String, Range<usize>)>,
    /// Where the key is used.
    key_used: Option<Range<usize>>,
    batch: Option<u32>,
}

/// The keys of the section.
pub(super) const KEYS: &[Key<PricesDraft>] = &[
    key("source", |walk, entry, draft| {
        draft.http = walk.choice(entry.key, entry.value, &["files", "http"]) == Some("http");
    }),
    key("url", |walk, entry, draft| walk.price_url(entry, draft)),
    key("header", |walk, entry, draft| walk.price_header(entry, draft)),
    key("key_env", |walk, entry, draft| {
        if let Some(name) = walk.variable_name(entry.key, entry.value) {
            draft.prices.key_env = Some(name);
        }
    }),
    key("format", |walk, entry, draft| {
        if let Some(form) = walk.choice(entry.key, entry.value, &["csv", "json"]) {
            draft.prices.form = if form == "csv" { AnswerForm::Csv } else { AnswerForm::Json };
        }
    }),
    key("rows", |walk, entry, draft| {
        if let Some(path) = walk.field_name(entry, true) {
            draft.prices.rows_path = path;
        }
    }),
    key("date", |walk, entry, draft| {
        if let Some(name) = walk.field_name(entry, false) {
            draft.prices.date_field = name;
        }
    }),
    key("close", |walk, entry, draft| {
        if let Some(name) = walk.field_name(entry, false) {
            draft.prices.close_field = name;
        }
    }),
    key("symbol", |walk, entry, draft| {
        if let Some(name) = walk.field_name(entry, false) {
            draft.prices.symbol_field = Some(name);
        }
    }),
    key("batch_size", |walk, entry, draft| {
        draft.batch = walk.whole_number(entry.key, entry.value, &(1..=1_000));
    }),
    key("requests_per_minute", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=60_000, &mut draft.prices.requests_per_minute);
    }),
    key("timeout_seconds", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=300, &mut draft.prices.timeout_seconds);
    }),
    key("total_seconds", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 1..=21_600, &mut draft.prices.total_seconds);
    }),
];

impl Walk<'_> {
    /// Reads `[prices]`.
    pub(super) fn http_prices(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let Some(table) = self.section_table(entry) else { return };
        let mut read = PricesDraft::default();
        self.keys("prices", table, KEYS, &mut read);
        if read.http {
            draft.settings.http_prices = self.prices_together(table, read).or(draft.settings.http_prices.take());
        }
    }

    /// What the keys must be to each other.
    fn prices_together(&mut self, table: &Table<'_>, draft: PricesDraft) -> Option<HttpPriceSettings> {
        let PricesDraft { mut prices, url, key_used, batch, .. } = draft;
        let Some((url, span)) = url else {
            if let Some((key, _)) = table.get_key_value("source").filter(|_| table.get("url").is_none()) {
                self.error(&key.span(), "with source = \"http\" an address is needed: `url`");
            }
            return None;
        };
        let several = url.contains("{symbols}");
        prices.batch_size = batch.unwrap_or(if several { BATCH } else { 1 });
        if prices.batch_size > 1 && !several {
            self.error(&span, "`url` takes one symbol; write {symbols} for several, or leave `batch_size` out");
        }
        if prices.batch_size > 1 && prices.symbol_field.is_none() {
            self.error(&span, "an answer about several symbols must say which: name the column or field as `symbol`");
        }
        if let (Some(span), None) = (key_used, &prices.key_env) {
            self.error(&span, "{key} is used and `key_env` does not say which environment variable holds it");
        }
        Some(prices)
    }

    fn price_url(&mut self, entry: &Entry<'_, '_>, draft: &mut PricesDraft) {
        let Some((text, span)) = self.text(entry.key, entry.value) else { return };
        let mut plain = text.clone();
        PLACES.iter().for_each(|place| plain = plain.replace(place, "x"));
        if plain.contains(['{', '}']) || !is_web_address(&plain) {
            let places = PLACES.join(", ");
            let wanted = format!(
                "`url` must begin with https:// or http://, without spaces, user or password, and may hold {places}"
            );
            self.error(&span, wanted);
        } else if !text.contains("{symbol}") && !text.contains("{symbols}") {
            self.error(&span, "`url` must say of which symbol: write {symbol} or {symbols} into it");
        } else {
            if text.contains("{key}") {
                draft.key_used = Some(span.clone());
            }
            draft.prices.url.clone_from(&text);
            draft.url = Some((text, span));
        }
    }

    fn price_header(&mut self, entry: &Entry<'_, '_>, draft: &mut PricesDraft) {
        let Some((text, span)) = self.text(entry.key, entry.value) else { return };
        let fits = text.split_once(':').is_some_and(|(name, value)| {
            let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            !name.is_empty() && name.bytes().all(token) && value.bytes().all(|b| (b' '..=b'~').contains(&b))
        });
        if fits && text.contains("{key}") {
            draft.key_used = Some(span);
            draft.prices.header = Some(text);
        } else {
            let wanted = "`header` must be a name, a colon and a value with {key} in it, for example  header = \"Authorization: Bearer {key}\"; the key itself never stands here";
            self.error(&span, wanted);
        }
    }

    /// The name of a column or of a field of the answer; the path to the rows may be empty.
    fn field_name(&mut self, entry: &Entry<'_, '_>, may_be_empty: bool) -> Option<String> {
        let (text, span) = self.text(entry.key, entry.value)?;
        if text.len() > 200 || text.chars().any(char::is_control) || (text.is_empty() && !may_be_empty) {
            let key = entry.key;
            self.error(&span, format!("`{key}` must be the name of a column, or of a field of the answer"));
            return None;
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[test]
    fn a_source_is_read_whole() {
        let (settings, errors, _) = parse(
            "[prices]\nsource = \"http\"\nurl = \"https://prices.example/{symbols}?from={from}&to={to}\"\nheader = \"Authorization: Token {key}\"\n\
             key_env = \"PRICES_KEY\"\nformat = \"json\"\nrows = \"data.days\"\ndate = \"t\"\nclose = \"c\"\nsymbol = \"s\"\nrequests_per_minute = 5\n",
        );
        assert_eq!(errors, Vec::<String>::new());
        let prices = settings.http_prices.unwrap();
        assert_eq!((prices.batch_size, prices.requests_per_minute, prices.form), (50, 5, AnswerForm::Json));
        assert_eq!((&*prices.rows_path, prices.key_env.as_deref()), ("data.days", Some("PRICES_KEY")));
        assert_eq!(parse("[prices]\nsource = \"files\"\n").0.http_prices, None);
    }

    #[test]
    fn what_is_wrong_with_a_source_is_said_at_its_place() {
        for (text, said) in [
            ("source = \"http\"\n", "an address is needed"),
            ("source = \"ftp\"\n", "must be one of files, http"),
            ("source = \"http\"\nurl = \"https://x/\"\n", "of which symbol"),
            ("source = \"http\"\nurl = \"https://x/{symbl}\"\n", "may hold {symbol}"),
            ("source = \"http\"\nurl = \"https://u:p@x/{symbol}\"\n", "without spaces, user or password"),
            ("source = \"http\"\nurl = \"https://x/{symbol}?k={key}\"\n", "`key_env` does not say"),
            (
                "source = \"http\"\nurl = \"https://x/{symbol}\"\nheader = \"Authorization: Bearer abc\"\n",
                "never stands here",
            ),
            ("source = \"http\"\nurl = \"https://x/{symbol}\"\nbatch_size = 9\n", "takes one symbol"),
            ("source = \"http\"\nurl = \"https://x/{symbols}\"\n", "must say which"),
            ("source = \"http\"\nurl = \"https://x/{symbol}\"\nkey = \"abc\"\n", "unknown key `prices.key`"),
        ] {
            let (_, errors, _) = parse(&format!("[prices]\n{text}"));
            assert!(errors.iter().any(|error| error.contains(said)), "{text}: {errors:?}");
        }
    }
}
