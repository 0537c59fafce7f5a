use proptest::{collection::vec, prelude::*};

use super::*;

const RULES: Rules = Rules {
    window: secs(10),
    least_calls: 4,
    in_a_row: 0,
    failed: 50,
    slow_after: secs(2),
    slow: 75,
    open_for: secs(5),
    open_at_most: secs(15),
    probes: 2,
    probe_for: Duration::ZERO,
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const QUICK: Verdict = Verdict::Answered(secs(1));
const SLOW: Verdict = Verdict::Answered(secs(3));

fn call(breaker: &Breaker, verdict: Verdict, at: Duration) -> Option<State> {
    let pass = breaker.admit(at).expect("it passes");
    breaker.note(pass, verdict, at)
}

fn state(breaker: &Breaker, at: Duration) -> State {
    breaker.status(at).state
}

/// One that has opened at `at`.
fn opened(at: Duration) -> Breaker {
    let breaker = Breaker::new(RULES);
    for _ in 0..3 {
        assert_eq!(call(&breaker, Verdict::Failed, at), None);
    }
    assert_eq!(call(&breaker, Verdict::Failed, at), Some(State::Open));
    breaker
}

#[test]
fn it_opens_when_half_of_the_calls_fail() {
    let breaker = Breaker::new(RULES);
    let changes = [QUICK, QUICK, QUICK, Verdict::Failed, Verdict::Failed]
        .map(|verdict| call(&breaker, verdict, secs(1)));
    assert_eq!(changes, [None; 5]);
    assert_eq!(call(&breaker, Verdict::Failed, secs(2)), Some(State::Open));
    let refused = breaker.admit(secs(3)).unwrap_err();
    assert_eq!(refused.retry_after, Some(secs(4)));
    assert_eq!(breaker.status(secs(3)).opened, 1);
}

#[test]
fn it_opens_when_most_calls_are_slow() {
    let breaker = Breaker::new(RULES);
    for verdict in [QUICK, SLOW, SLOW] {
        assert_eq!(call(&breaker, verdict, secs(1)), None);
    }
    assert_eq!(call(&breaker, SLOW, secs(1)), Some(State::Open));
}

#[test]
fn few_calls_and_old_ones_open_nothing() {
    let breaker = Breaker::new(RULES);
    for second in 0..50 {
        // Three within the window.
        assert_eq!(call(&breaker, Verdict::Failed, secs(second * 4)), None);
    }
}

#[test]
fn failures_in_a_row_open_it_however_few_calls_there_are() {
    let rules = Rules {
        least_calls: 100,
        in_a_row: 3,
        ..RULES
    };
    // Much was good before, and some of what fails comes at once.
    let breaker = Breaker::new(rules);
    for _ in 0..50 {
        call(&breaker, QUICK, secs(1));
    }
    for _ in 0..2 {
        assert_eq!(call(&breaker, Verdict::Failed, secs(6)), None);
    }
    assert_eq!(call(&breaker, Verdict::Unknown, secs(6)), None);
    assert_eq!(call(&breaker, Verdict::Failed, secs(6)), Some(State::Open));
    // An answer sets it back, a slow one too; and once probes have closed it, it begins anew.
    for _ in 0..2 {
        call(&breaker, QUICK, secs(11));
    }
    for verdict in [QUICK, SLOW] {
        for _ in 0..2 {
            assert_eq!(call(&breaker, Verdict::Failed, secs(13)), None);
        }
        assert_eq!(call(&breaker, verdict, secs(13)), None);
    }
    // Over days, too.
    for day in 1..3 {
        let at = secs(day * 86_400);
        assert_eq!(call(&breaker, Verdict::Failed, at), None);
    }
    let at = secs(3 * 86_400);
    assert_eq!(call(&breaker, Verdict::Failed, at), Some(State::Open));
}

/// A server of which one of many parts dies: what was under way there fails at once.
#[test]
fn what_fails_at_once_between_others_that_do_not_opens_nothing() {
    let breaker = Breaker::new(Rules {
        least_calls: 100,
        in_a_row: 3,
        ..RULES
    });
    for tenth in 100..200 {
        let now = Duration::from_millis(tenth * 100);
        assert_eq!(call(&breaker, QUICK, now), None);
        for _ in 0..10 {
            assert_eq!(call(&breaker, Verdict::Failed, now), None);
        }
        if breaker.status(now).tally.calls > 90 {
            break;
        }
    }
}

/// A server hangs, and comes back: those who have waited for it since say so when their time is over.
#[test]
fn what_was_asked_before_it_closed_says_nothing_of_what_is_now() {
    let rules = Rules {
        in_a_row: 3,
        ..RULES
    };
    let forced = |breaker: &Breaker| {
        breaker.force(Some(Forced::Closed));
        breaker.force(None);
    };
    let probed = |breaker: &Breaker| {
        for _ in 0..2 {
            call(breaker, QUICK, secs(5));
        }
    };
    let with_others = |breaker: &Breaker| breaker.close_with_others();
    let ways: [&dyn Fn(&Breaker); 3] = [&forced, &probed, &with_others];
    for close in ways {
        let breaker = Breaker::new(rules);
        let waiting: Vec<Pass> = (0..10)
            .map(|_| breaker.admit(secs(0)).expect("it passes"))
            .collect();
        for _ in 0..4 {
            call(&breaker, Verdict::Failed, secs(0));
            if state(&breaker, secs(0)) == State::Open {
                break;
            }
        }
        close(&breaker);
        assert_eq!(state(&breaker, secs(5)), State::Closed);
        for pass in waiting {
            assert_eq!(breaker.note(pass, Verdict::Failed, secs(20)), None);
        }
        // What is asked since does.
        assert_eq!(call(&breaker, Verdict::Failed, secs(20)), None);
        call(&breaker, Verdict::Failed, secs(20));
        assert_eq!(call(&breaker, Verdict::Failed, secs(20)), Some(State::Open));
    }
}

#[test]
fn probes_that_take_long_are_in_nobodys_way_where_others_are_good() {
    let breaker = Breaker::new(Rules {
        probe_for: secs(300),
        ..RULES
    });
    for _ in 0..4 {
        call(&breaker, Verdict::Failed, secs(0));
    }
    let long = breaker.admit(secs(5)).expect("it passes");
    assert_eq!(call(&breaker, QUICK, secs(5)), None);
    let refused = breaker.admit(secs(6)).unwrap_err();
    assert_eq!(refused.retry_after, Some(secs(5)));
    assert_eq!(call(&breaker, QUICK, secs(10)), Some(State::Closed));
    assert_eq!(breaker.note(long, Verdict::Failed, secs(60)), None);
    // Where none is good it is waited for them, and what they find decides.
    for _ in 0..4 {
        call(&breaker, Verdict::Failed, secs(100));
    }
    let probes = [(); 2].map(|()| breaker.admit(secs(105)).expect("it passes"));
    let refused = breaker.admit(secs(200)).unwrap_err();
    assert_eq!(refused.retry_after, Some(secs(5)));
    let found = probes.map(|probe| breaker.note(probe, Verdict::Failed, secs(404)));
    assert_eq!(found, [Some(State::Open), None]);
}

#[test]
fn probes_have_their_time() {
    let breaker = Breaker::new(Rules {
        probe_for: secs(30),
        probes: 1,
        ..RULES
    });
    for _ in 0..4 {
        call(&breaker, Verdict::Failed, secs(0));
    }
    // Longer than it was open.
    let probe = breaker.admit(secs(5)).expect("it passes");
    assert!(breaker.admit(secs(34)).is_err());
    let changed = breaker.note(probe, Verdict::Failed, secs(34));
    assert_eq!(changed, Some(State::Open));
    // It is given up in the end.
    let probe = breaker.admit(secs(50)).expect("it passes");
    let other = breaker.admit(secs(80)).expect("it passes");
    assert_eq!(breaker.note(probe, QUICK, secs(81)), None);
    let changed = breaker.note(other, QUICK, secs(82));
    assert_eq!(changed, Some(State::Closed));
}

#[test]
fn who_goes_away_says_nothing() {
    let breaker = Breaker::new(RULES);
    for _ in 0..100 {
        assert_eq!(call(&breaker, Verdict::Unknown, secs(1)), None);
    }
    assert_eq!(breaker.status(secs(1)).tally, Tally::default());
}

#[test]
fn probes_close_it() {
    let breaker = opened(secs(1));
    assert_eq!(state(&breaker, secs(5)), State::Open);
    assert_eq!(state(&breaker, secs(6)), State::HalfOpen);
    let probes = [(); 2].map(|()| breaker.admit(secs(6)).unwrap());
    assert!(breaker.admit(secs(6)).is_err(), "two are enough");
    let [first, second] = probes.map(|probe| breaker.note(probe, QUICK, secs(7)));
    assert_eq!([first, second], [None, Some(State::Closed)]);
    // What failed before counts no more.
    assert_eq!(call(&breaker, Verdict::Failed, secs(7)), None);
    assert_eq!(state(&breaker, secs(7)), State::Closed);
}

#[test]
fn a_probe_that_fails_or_is_slow_opens_it_for_longer() {
    let breaker = opened(secs(0));
    let mut now = secs(0);
    for (verdict, pause) in [(Verdict::Failed, 10), (SLOW, 15), (Verdict::Failed, 15)] {
        now = breaker.status(now).open_until.unwrap();
        assert_eq!(call(&breaker, verdict, now), Some(State::Open));
        let until = breaker.status(now).open_until;
        assert_eq!(until, Some(now + secs(pause)));
    }
    // Once it has closed, it begins anew.
    now = breaker.status(now).open_until.unwrap();
    for _ in 0..2 {
        call(&breaker, QUICK, now);
    }
    for _ in 0..4 {
        call(&breaker, Verdict::Failed, now);
    }
    assert_eq!(breaker.status(now).open_until, Some(now + secs(5)));
}

#[test]
fn a_probe_that_never_comes_back_is_given_up() {
    let breaker = opened(secs(0));
    let lost = [(); 2].map(|()| breaker.admit(secs(5)).unwrap());
    let refused = breaker.admit(secs(6)).unwrap_err();
    assert_eq!(refused.retry_after, Some(secs(4)));
    for _ in 0..2 {
        call(&breaker, QUICK, secs(10));
    }
    assert_eq!(state(&breaker, secs(10)), State::Closed);
    // They say nothing when they come after all.
    for probe in lost {
        assert_eq!(breaker.note(probe, Verdict::Failed, secs(11)), None);
    }
    assert_eq!(state(&breaker, secs(11)), State::Closed);
}

#[test]
fn a_probe_that_says_nothing_makes_room() {
    let breaker = opened(secs(0));
    for _ in 0..5 {
        assert_eq!(call(&breaker, Verdict::Unknown, secs(5)), None);
    }
    assert_eq!(call(&breaker, QUICK, secs(5)), None);
    assert_eq!(call(&breaker, QUICK, secs(5)), Some(State::Closed));
}

#[test]
fn what_began_before_it_opened_says_nothing() {
    let breaker = Breaker::new(RULES);
    let early = breaker.admit(secs(0)).unwrap();
    for _ in 0..4 {
        call(&breaker, Verdict::Failed, secs(0));
    }
    let until = breaker.status(secs(1)).open_until;
    assert_eq!(breaker.note(early, Verdict::Failed, secs(1)), None);
    assert_eq!(breaker.status(secs(1)).open_until, until);
}

#[test]
fn an_operator_decides() {
    let breaker = Breaker::new(RULES);
    breaker.force(Some(Forced::Open));
    let refused = breaker.admit(secs(1)).unwrap_err();
    assert_eq!(refused.retry_after, None);
    breaker.force(None);
    assert_eq!(call(&breaker, QUICK, secs(1)), None);
    breaker.force(Some(Forced::Closed));
    for _ in 0..10 {
        assert_eq!(call(&breaker, Verdict::Failed, secs(1)), None);
    }
    breaker.force(None);
    assert_eq!(call(&breaker, Verdict::Failed, secs(1)), Some(State::Open));
    breaker.force(Some(Forced::Closed));
    assert_eq!(call(&breaker, QUICK, secs(1)), None);
}

#[derive(Debug, Clone)]
enum Move {
    Admit,
    Note(prop::sample::Index, Verdict),
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let verdict = prop_oneof![
        Just(QUICK),
        Just(SLOW),
        Just(Verdict::Failed),
        Just(Verdict::Unknown)
    ];
    let one = prop_oneof![
        4 => Just(Move::Admit),
        4 => (any::<prop::sample::Index>(), verdict).prop_map(|(at, verdict)| Move::Note(at, verdict)),
        1 => (0_u64..8000).prop_map(Move::Wait),
    ];
    vec(one, 0..200)
}

proptest! {
    /// Whatever comes: it always lets calls pass again some time, and while it is half-open never
    /// more than the probes.
    #[test]
    fn it_is_never_stuck_and_never_lets_a_flood_pass(moves in moves()) {
        let breaker = Breaker::new(RULES);
        let (mut now, mut passes) = (secs(0), Vec::new());
        let mut probing = 0;
        for one in moves {
            match one {
                Move::Wait(millis) => {
                    now += Duration::from_millis(millis);
                    probing = 0;
                }
                Move::Admit => {
                    if state(&breaker, now) == State::HalfOpen {
                        if let Ok(pass) = breaker.admit(now) {
                            probing += 1;
                            passes.push(pass);
                        }
                        prop_assert!(breaker.rules.probes >= probing);
                    } else if let Ok(pass) = breaker.admit(now) {
                        prop_assert_eq!(state(&breaker, now), State::Closed);
                        passes.push(pass);
                    }
                }
                Move::Note(at, verdict) if !passes.is_empty() => {
                    let pass = passes.swap_remove(at.index(passes.len()));
                    let was_probe = pass.probes.is_some();
                    let change = breaker.note(pass, verdict, now);
                    if let Some(change) = change {
                        prop_assert_eq!(state(&breaker, now), change);
                    }
                    if was_probe {
                        probing = 0;
                    }
                }
                Move::Note(..) => {}
            }
        }
        now += RULES.open_at_most;
        prop_assert!(breaker.admit(now).is_ok());
    }
}

#[test]
fn one_that_is_led_probes_when_it_is_permitted() {
    let breaker = opened(secs(1));
    breaker.lead(true);
    let standing = breaker.standing(secs(1));
    assert_eq!((standing.opened, standing.closed), (1, 0));
    assert_eq!(standing.open_for, Some(secs(5)));
    assert_eq!(standing.wants_probes, None);
    let later = secs(7);
    assert_eq!(breaker.standing(later).wants_probes, None, "nobody calls");
    assert!(breaker.admit(later).is_err());
    assert!(breaker.standing(later).wants_probes.is_some());
    breaker.permit_probes(later);
    assert_eq!(breaker.standing(later).wants_probes, None);
    let probes = [breaker.admit(later).unwrap(), breaker.admit(later).unwrap()];
    assert!(breaker.admit(later).is_err(), "no more than these");
    for probe in probes {
        let _ = breaker.note(probe, Verdict::Answered(Duration::ZERO), later);
    }
    assert_eq!(breaker.standing(later).closed, 1);
    assert!(breaker.lets_all_pass());
    // Probes that do not come back are waited for as long as a pause.
    let breaker = opened(secs(1));
    breaker.lead(true);
    breaker.permit_probes(later);
    let _lost = [breaker.admit(later).unwrap(), breaker.admit(later).unwrap()];
    assert!(breaker.admit(secs(13)).is_err());
    assert!(breaker.standing(secs(13)).wants_probes.is_some());
    // Nobody leads any more.
    breaker.lead(false);
    assert!(breaker.admit(secs(13)).is_ok());
}

#[test]
fn one_opens_with_others_unless_its_own_calls_are_good() {
    let note = |breaker: &Breaker, verdict, count: u32| {
        for _ in 0..count {
            let pass = breaker.admit(secs(1)).unwrap();
            let _ = breaker.note(pass, verdict, secs(1));
        }
    };
    let good = Verdict::Answered(Duration::ZERO);
    for (goods, bads, opens) in [
        (0, 0, true),
        (1, 0, false),
        (10, 1, false),
        (2, 1, false),
        (1, 1, true),
        (0, 2, true),
    ] {
        let breaker = Breaker::new(RULES);
        note(&breaker, good, goods);
        note(&breaker, Verdict::Failed, bads);
        assert_eq!(
            breaker.open_with_others(secs(3), secs(1)),
            opens,
            "{goods} {bads}"
        );
        assert_eq!(breaker.admit(secs(1)).is_err(), opens);
        assert_eq!(breaker.standing(secs(1)).opened, 0, "not by itself");
        if opens {
            assert_eq!(breaker.standing(secs(1)).open_for, Some(secs(3)));
            breaker.close_with_others();
            assert!(breaker.lets_all_pass());
        }
    }
    // What was good long ago says nothing.
    let breaker = Breaker::new(RULES);
    note(&breaker, good, 10);
    assert!(breaker.open_with_others(secs(3), secs(5)));
    // An operator knows better.
    let breaker = Breaker::new(RULES);
    breaker.force(Some(Forced::Closed));
    assert!(!breaker.open_with_others(secs(1), secs(1)));
    assert!(breaker.admit(secs(1)).is_ok());
    // One that probes goes on.
    let breaker = opened(secs(1));
    breaker.lead(true);
    breaker.permit_probes(secs(7));
    assert!(!breaker.open_with_others(secs(1), secs(7)));
    assert!(breaker.admit(secs(7)).is_ok());
}
