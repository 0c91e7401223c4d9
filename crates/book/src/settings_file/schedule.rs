//! `[schedule]`: when runs start, and which day each of them stands for.

use std::collections::BTreeSet;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, Offset, TimeZone, Timelike, Utc};
use domain::ids::ScheduleName;
use domain::zone::Zone;
use toml::de::DeValue;

use super::Draft;
use super::together::Wrote;
use super::walk::{Entry, Key, Walk, key};
use crate::calendar::Calendar;
use crate::schedule;
use crate::sessions::parse_close;
use crate::settings::ScheduleSettings;
use crate::value;

pub(super) const KEYS: &[Key<Draft>] = &[
    key("name", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        match ScheduleName::new(text) {
            Ok(name) => draft.settings.schedule.name = name,
            Err(_) => walk.error(&span, format!("`name` may have {}", ScheduleName::ALLOWED)),
        }
    }),
    key("cron", |walk, entry, draft| walk.cron(entry, draft)),
    key("timezone", |walk, entry, draft| walk.timezone(entry, draft)),
    key("calendar", |walk, entry, draft| {
        if let Some(name) = walk.choice(entry.key, entry.value, &Calendar::NAMES) {
            draft.settings.schedule.calendar = Calendar::from_name(name).unwrap_or_default();
        }
    }),
    key("grace_minutes", |walk, entry, draft| {
        walk.whole(entry.key, entry.value, 0..=10_080, &mut draft.settings.schedule.grace_minutes);
    }),
    key("catch_up", |walk, entry, draft| {
        if let Some(catch_up) = walk.flag(entry.key, entry.value) {
            draft.settings.schedule.catch_up = catch_up;
        }
    }),
    key("close", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        match parse_close(&text) {
            Some(close) => {
                draft.settings.schedule.close = Some(close);
                draft.wrote.close = Some(span);
            }
            None => walk.error(&span, "`close` must be a time of the day from 00:01 to 23:59, as \"17:30\""),
        }
    }),
    key("closed", |walk, entry, draft| {
        draft.wrote.closed = walk.days(entry);
        draft.settings.schedule.closed = draft.wrote.closed.iter().map(|(day, _)| *day).collect();
    }),
    key("open", |walk, entry, draft| {
        draft.wrote.open = walk.days(entry);
        draft.settings.schedule.open = draft.wrote.open.iter().map(|(day, _)| *day).collect();
    }),
    key("series", |walk, entry, draft| {
        let Some((text, span)) = walk.text(entry.key, entry.value) else { return };
        match ScheduleName::new(text) {
            Ok(name) => draft.settings.schedule.series = Some(name),
            Err(_) => walk.error(&span, format!("`series` may have {}", ScheduleName::ALLOWED)),
        }
    }),
];

/// The longest list of days.
const MOST_DAYS: usize = 1_000;

impl Walk<'_> {
    fn cron(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let Some((text, span)) = self.text(entry.key, entry.value) else { return };
        let wanted = "`cron` must have five fields: minute, hour, day of month, month, day of week; for example \"30 18 * * 1-5\"";
        match schedule::parse_cron(&text) {
            Ok(_) => {
                let trial = ScheduleSettings { cron: text.clone(), ..ScheduleSettings::default() };
                if schedule::next_slot(&trial, probe_start()).is_some() {
                    draft.settings.schedule.cron = text;
                    draft.wrote.cron = Some(span);
                } else {
                    self.error(&span, format!("the schedule never comes; {wanted}"));
                }
            }
            Err(reason) => self.error(&span, format!("{wanted} ({})", reason.trim_end_matches('.'))),
        }
    }

    fn timezone(&mut self, entry: &Entry<'_, '_>, draft: &mut Draft) {
        let Some((text, span)) = self.text(entry.key, entry.value) else { return };
        match text.parse::<Zone>() {
            Ok(zone) => {
                draft.settings.schedule.timezone = zone;
                draft.wrote.cron.get_or_insert(span);
            }
            Err(_) => {
                let zones = Zone::names;
                let town = format!("/{}", text.replace(' ', "_"));
                let by_town = zones().find(|zone| zone.ends_with(&town));
                let near = by_town.or_else(|| value::nearest(&text, zones()));
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                let message = format!("`timezone` must be an IANA time zone such as America/New_York or UTC{near}");
                self.error(&span, message);
            }
        }
    }

    /// A list of days, each with its place.
    fn days(&mut self, entry: &Entry<'_, '_>) -> Vec<(NaiveDate, Range<usize>)> {
        let key = entry.key;
        let wanted = format!("`{key}` must be a list of at most {MOST_DAYS} days, as [2026-12-24, 2026-12-31]");
        let DeValue::Array(list) = entry.value.get_ref() else {
            self.error(&entry.value.span(), wanted);
            return Vec::new();
        };
        if list.len() > MOST_DAYS {
            self.error(&entry.value.span(), wanted);
            return Vec::new();
        }
        let mut days: Vec<(NaiveDate, Range<usize>)> = Vec::new();
        let mut known = BTreeSet::new();
        for item in list {
            let text = match item.get_ref() {
                DeValue::Datetime(day) => day.to_string(),
                DeValue::String(text) => text.trim().to_owned(),
                _ => String::new(),
            };
            match value::parse_date(text.as_bytes()) {
                Some(day) if known.insert(day) => days.push((day, item.span())),
                Some(day) => self.error(&item.span(), format!("{day} is in `{key}` twice")),
                None => self.error(&item.span(), format!("`{key}` must have days; allowed is {}", value::DATE_ALLOWED)),
            }
        }
        days
    }

    /// Closing hour, closed and open days against the calendar and each other.
    pub(super) fn sessions_together(&mut self, wrote: &Wrote, schedule: &ScheduleSettings) {
        let calendar = schedule.calendar;
        if let Some(span) = wrote.close.as_ref().filter(|_| calendar == Calendar::Nyse) {
            let message =
                "`close` is for the calendars weekdays and every-day: nyse has closing hours of its own; remove it";
            self.error(span, message);
        }
        for (day, span) in &wrote.open {
            if schedule.closed.contains(day) {
                self.error(span, format!("{day} is in `closed` too; leave it in one of the two lists"));
            } else if calendar.is_session(*day) {
                self.warn(span, format!("{day} has a session by the calendar {calendar} already"));
            }
        }
        for (day, span) in &wrote.closed {
            if let Some(why) = calendar.holiday_name(*day).filter(|_| !schedule.open.contains(day)) {
                self.warn(span, format!("{day} has no session by the calendar {calendar} already: {why}"));
            }
        }
    }

    /// Where clocks change, they do so in the small hours: a slot then is skipped or moved twice a year.
    pub(super) fn night_hours(&mut self, span: &Range<usize>, schedule: &ScheduleSettings) {
        let zone = schedule.timezone;
        let offset =
            |month| zone.with_ymd_and_hms(2025, month, 15, 12, 0, 0).earliest().map(|time| time.offset().fix());
        if offset(1) == offset(7) {
            return;
        }
        let mut after = probe_start();
        for _ in 0..200 {
            let Some(slot) = schedule::next_slot(schedule, after) else { return };
            let local = slot.with_timezone(&zone);
            if local.hour() < 4 {
                let message = format!(
                    "a slot at {} in {zone} lies in the hours in which clocks change; one from 04:00 to 23:59 always comes once",
                    local.format("%H:%M")
                );
                self.warn(span, message);
                return;
            }
            after = slot;
        }
    }
}

/// Where trial slots are counted from: any fixed instant does.
pub(super) fn probe_start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_735_732_800, 0).earliest().unwrap_or_default()
}
