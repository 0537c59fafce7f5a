//! What is asked of policies, and what they answer.

use std::{net::IpAddr, time::Duration};

use super::PolicyName;

/// What is asked: may it be called, or is it to be listed?
///
/// A thing is listed if it may be called with some arguments, as far as that can be known without
/// them. A policy that speaks of `context.view` can only hide from lists what may be called, never
/// list what may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// It is to be listed.
    List,
    /// It is called.
    Call,
    /// It may be called with some arguments, whether it is listed or not.
    Possible,
}

/// The circumstances of a request, of which only what a policy asks for is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// The time since the Unix epoch.
    pub now: Duration,
    /// The address that the request came from.
    pub address: Option<IpAddr>,
    /// The text of the object of arguments; `None` where there is none.
    pub arguments: Option<&'a str>,
}

/// An answer, and what it was found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub allowed: bool,
    /// The policies that decided: those that forbid, else those that permit. None where no policy
    /// permits.
    pub policies: Vec<PolicyName>,
    /// Policies that could not be evaluated, and why not. The answer is a refusal then.
    pub failures: Vec<Failure>,
}

/// Why a policy could not be evaluated. Holds nothing that a caller has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The policy.
    pub policy: PolicyName,
    /// Why not.
    pub reason: String,
}

/// A decision and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// Whether it is the same at any time, from anywhere and with any arguments.
    pub fixed: bool,
    /// When it may be another one with the time alone.
    pub with_time: WithTime,
    /// Whether it may be another one for another address.
    pub by_address: bool,
}

/// When an answer may be another one while nothing but the time goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WithTime {
    /// At no time.
    #[default]
    Never,
    /// When a minute begins: hours, minutes and weekdays are asked for.
    EachMinute,
    /// At any moment.
    AnyMoment,
}
