//! Times as PostHog's parameters write them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::error::Failure;

/// Which end of a range a time is. A day stands for its first moment, or for its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    From,
    To,
}

/// Reads `-3d`, a day, a moment or `all`, which sets no bound. What names no zone is UTC.
pub(super) fn moment_ms(name: &str, text: &str, end: End, now_ms: i64) -> Result<Option<i64>, Failure> {
    if text == "all" {
        return Ok(None);
    }
    let zoned = |time: DateTime| time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond());
    let moment = relative(text, now_ms)
        .or_else(|| text.parse::<Timestamp>().ok().map(|time| time.as_millisecond()))
        .or_else(|| {
            // A moment without a zone would be taken for its day.
            let day = text.parse::<Date>().ok().filter(|_| text.len() == "2026-11-01".len())?;
            let midnight = zoned(day.to_datetime(jiff::civil::Time::midnight()))?;
            Some(if end == End::To { midnight + 86_399_999 } else { midnight })
        })
        .or_else(|| zoned(text.parse().ok()?));
    match moment {
        Some(moment_ms) => Ok(Some(moment_ms)),
        None => Err(Failure::BadParameter(format!("{name} is no time: write 2026-11-01, 2026-11-01T12:00:00Z or -7d"))),
    }
}

/// So long ago, in hours, days, weeks, months, quarters or years; `M` are minutes.
fn relative(text: &str, now_ms: i64) -> Option<i64> {
    let (count, unit) = text.strip_prefix('-')?.split_at_checked(text.len().checked_sub(2)?)?;
    let count: i64 = count.parse().ok().filter(|count| (0..=100_000).contains(count))?;
    let span = match unit {
        "M" => Span::new().try_minutes(count),
        "h" => Span::new().try_hours(count),
        "d" => Span::new().try_days(count),
        "w" => Span::new().try_weeks(count),
        "m" => Span::new().try_months(count),
        "q" => Span::new().try_months(count * 3),
        "y" => Span::new().try_years(count),
        _ => return None,
    };
    let now: Zoned = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(TimeZone::UTC);
    Some(now.checked_sub(span.ok()?).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    const NOW_MS: i64 = 1_795_226_820_000;

    #[test]
    fn times_are_relative_days_or_moments() {
        let read = |text: &str, end| moment_ms("date_from", text, end, NOW_MS).unwrap().unwrap();
        assert_eq!(read("-3d", End::From), NOW_MS - 3 * 86_400_000);
        assert_eq!(read("-24h", End::To), NOW_MS - 86_400_000);
        assert_eq!(read("-90M", End::From), NOW_MS - 90 * 60_000);
        assert_eq!(read("-1m", End::From), NOW_MS - 31 * 86_400_000, "October has 31 days");
        assert_eq!(read("2026-11-21", End::From), 1_795_219_200_000);
        assert_eq!(read("2026-11-21", End::To), 1_795_219_200_000 + 86_399_999);
        for moment in ["2026-11-21T02:07:00Z", "2026-11-21T03:07:00+01:00", "2026-11-21T02:07:00.000000"] {
            assert_eq!(read(moment, End::To), NOW_MS, "{moment}");
        }
        assert_eq!(moment_ms("date_from", "all", End::From, NOW_MS).unwrap(), None);
        for wrong in ["", "-", "d", "-d", "yesterday", "-3ü", "--3d", "-3d3", "dStart", "-99999y"] {
            assert!(moment_ms("date_from", wrong, End::From, NOW_MS).is_err(), "{wrong}");
        }
    }
}
