//! From text to the values that Cedar evaluates.

use std::{net::IpAddr, time::Duration};

use cedar_policy_core::{
    ast::{Name, RestrictedExpr, Value},
    evaluator::RestrictedEvaluator,
    extensions::Extensions,
};
use jiff::{Timestamp, tz::TimeZone};
use smol_str::SmolStr;

use super::entity::Vocabulary;

/// The functions that make values of Cedar's extension types.
#[derive(Debug, Clone)]
pub(super) struct Functions {
    pub decimal: Name,
    pub address: Name,
    pub datetime: Name,
}

/// The value of an extension type; `None` where the text is none.
pub(super) fn extension(function: &Name, text: &str) -> Option<Value> {
    let call = RestrictedExpr::call_extension_fn(function.clone(), [RestrictedExpr::val(text)]);
    RestrictedEvaluator::new(Extensions::all_available())
        .interpret(call.as_borrowed())
        .ok()
}

/// `context.network`
pub(super) fn network(vocabulary: &Vocabulary, address: IpAddr) -> Option<Value> {
    // Cedar knows no IPv4 addresses that are written as IPv6 ones.
    let text = address.to_canonical().to_string();
    let address = extension(&vocabulary.functions.address, &text)?;
    let members: [(SmolStr, Value); 1] = [("address".into(), address)];
    Some(Value::record(members, None))
}

/// A time since the Unix epoch; `None` where it is too late to be written as one.
pub(super) fn datetime(functions: &Functions, time: Duration) -> Option<Value> {
    let utc = timestamp(time)?.to_zoned_datetime(TimeZone::UTC);
    let text = utc.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    extension(&functions.datetime, &text)
}

fn timestamp(time: Duration) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(time.as_millis()).ok()?).ok()
}

/// `context.time`; without `now` where no condition asks for that, which takes longer to make than all
/// the rest: Cedar reads it from a text.
pub(super) fn time(
    vocabulary: &Vocabulary,
    zone: &TimeZone,
    now: Duration,
    with_now: bool,
) -> Option<Value> {
    let moment = timestamp(now)?;
    let local = moment.to_zoned_datetime(zone.clone());
    let weekday = match local.weekday() {
        jiff::civil::Weekday::Monday => "monday",
        jiff::civil::Weekday::Tuesday => "tuesday",
        jiff::civil::Weekday::Wednesday => "wednesday",
        jiff::civil::Weekday::Thursday => "thursday",
        jiff::civil::Weekday::Friday => "friday",
        jiff::civil::Weekday::Saturday => "saturday",
        jiff::civil::Weekday::Sunday => "sunday",
    };
    let member = |name, value| (SmolStr::new_static(name), value);
    let now = if with_now {
        Some(member("now", datetime(&vocabulary.functions, now)?))
    } else {
        None
    };
    let members = [
        member("weekday", vocabulary.weekday(weekday)),
        member("hour", i64::from(local.hour()).into()),
        member("minute", i64::from(local.minute()).into()),
    ];
    Some(Value::record(members.into_iter().chain(now), None))
}
