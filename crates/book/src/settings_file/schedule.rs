//! `[schedule]`: when runs start, and which day each of them stands for.

use std::ops::Range;

use chrono::{DateTime, Offset, TimeZone, Timelike, Utc};
use domain::ids::ScheduleName;
use domain::zone::Zone;

use super::Draft;
use super::walk::{Entry, Key, Walk, key};
use crate::calendar::Calendar;
use crate::schedule;
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
];

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
