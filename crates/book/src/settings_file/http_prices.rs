//! `[prices]`: where closes come from that the book does not have.

use toml::de::DeTable;

use super::{SECTIONS, Walk, entries};
use crate::portfolios::is_web_address;
use crate::settings::{AnswerForm, HttpPriceSettings, Settings};
use crate::value;

/// Names between braces that an address may hold.
const PLACES: [&str; 7] = ["{symbol}", "{symbols}", "{from}", "{to}", "{from_compact}", "{to_compact}", "{key}"];

/// Symbols in one request where the address takes several.
const BATCH: u32 = 50;

impl Walk<'_> {
    pub(super) fn http_prices(&mut self, table: &DeTable<'_>, settings: &mut Settings) {
        let known = SECTIONS.iter().find(|(name, _)| *name == "prices").map_or(&[][..], |(_, keys)| *keys);
        let mut prices = HttpPriceSettings::default();
        let (mut http, mut url, mut key_used, mut batch) = (false, None, None, 0);
        for (key, key_span, value) in entries(table) {
            match key {
                "source" => http = self.choice(key, value, &["files", "http"]) == Some("http"),
                "format" => {
                    if let Some(form) = self.choice(key, value, &["csv", "json"]) {
                        prices.form = if form == "csv" { AnswerForm::Csv } else { AnswerForm::Json };
                    }
                }
                "url" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
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
                            key_used = Some(span.clone());
                        }
                        prices.url.clone_from(&text);
                        url = Some((text, span));
                    }
                }
                "header" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    let fits = text.split_once(':').is_some_and(|(name, value)| {
                        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                        !name.is_empty() && name.bytes().all(token) && value.bytes().all(|b| (b' '..=b'~').contains(&b))
                    });
                    if fits && text.contains("{key}") {
                        key_used = Some(span);
                        prices.header = Some(text);
                    } else {
                        let wanted = "`header` must be a name, a colon and a value with {key} in it, for example  header = \"Authorization: Bearer {key}\"; the key itself never stands here";
                        self.error(&span, wanted);
                    }
                }
                "key_env" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    if value::is_variable_name(&text) {
                        prices.key_env = Some(text);
                    } else {
                        self.error(&span, value::VARIABLE_WANTED);
                    }
                }
                "rows" | "date" | "close" | "symbol" => {
                    let Some((text, span)) = self.text(key, value) else { continue };
                    if text.len() > 200 || text.chars().any(char::is_control) || (text.is_empty() && key != "rows") {
                        self.error(&span, format!("`{key}` must be the name of a column, or of a field of the answer"));
                        continue;
                    }
                    match key {
                        "rows" => prices.rows_path = text,
                        "date" => prices.date_field = text,
                        "close" => prices.close_field = text,
                        _ => prices.symbol_field = Some(text),
                    }
                }
                "batch_size" => self.whole(key, value, 1..=1_000, &mut batch),
                "requests_per_minute" => self.whole(key, value, 1..=60_000, &mut prices.requests_per_minute),
                "timeout_seconds" => self.whole(key, value, 1..=300, &mut prices.timeout_seconds),
                "total_seconds" => self.whole(key, value, 1..=21_600, &mut prices.total_seconds),
                _ => self.unknown_key("prices", key, &key_span, known),
            }
        }
        if !http {
            return;
        }
        let Some((url, span)) = url else {
            if let Some((key, _)) = table.get_key_value("source").filter(|_| table.get("url").is_none()) {
                self.error(&key.span(), "with source = \"http\" an address is needed: `url`");
            }
            return;
        };
        let several = url.contains("{symbols}");
        prices.batch_size = match batch {
            0 => {
                if several {
                    BATCH
                } else {
                    1
                }
            }
            batch => batch,
        };
        if prices.batch_size > 1 && !several {
            self.error(&span, "`url` takes one symbol; write {symbols} for several, or leave `batch_size` out");
        }
        if prices.batch_size > 1 && prices.symbol_field.is_none() {
            self.error(&span, "an answer about several symbols must say which: name the column or field as `symbol`");
        }
        if let (Some(span), None) = (key_used, &prices.key_env) {
            self.error(&span, "{key} is used and `key_env` does not say which environment variable holds it");
        }
        settings.http_prices = Some(prices);
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
