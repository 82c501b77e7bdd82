//! What the ledger tells beside what a made device spent.
//!
//! Energies and times of executions vary by 2 % to both sides, independently of each other. No ledger sees such a
//! difference between two executions that overlap, so up to 4 % of each error are the device's.

use super::device::*;

/// Tick, reading and sampling period, in ms.
const METERS: [(u64, u64, u64); 6] =
    [(1, 0, 1), (1, 0, 10), (1, 25, 10), (20, 25, 10), (100, 25, 10), (100, 25, 100)];
/// Ticks after which classes that overlap are told apart: there are up to 10 of them, and two powers that were mixed up
/// also leave something pending.
const LEARNT_TICKS: u64 = 40;

/// Batches of 1 to 16 rows; rows cost the less, the more there are.
fn sizes(base_ns: u64, each_ns: u64, base_uj: f64, each_uj: f64) -> Vec<Kind> {
    [1, 2, 4, 8, 16]
        .map(|rows| Kind { ns: base_ns + each_ns * rows, uj: base_uj + each_uj * rows as f64 })
        .to_vec()
}

fn short() -> Vec<Kind> {
    sizes(2 * MS, MS / 2, 100_000.0, 50_000.0)
}

fn long() -> Vec<Kind> {
    sizes(400 * MS, 40 * MS, 20e6, 5e6)
}

/// The share of errors beyond the limit, and the largest.
fn beyond<'a>(answers: impl Iterator<Item = &'a Answer>, limit: f64) -> (f64, f64) {
    let all: Vec<f64> = answers.map(|answer| answer.off().abs()).collect();
    let beyond = all.iter().filter(|off| **off > limit).count();
    (beyond as f64 / all.len().max(1) as f64, all.iter().copied().fold(0.0, f64::max))
}

fn balances(setup: &Setup, outcome: &Outcome) {
    let books = outcome.ledger.books();
    let told: u128 = outcome.told;
    assert_eq!(books.told, told);
    assert_eq!(told as i128 + books.pending, (books.attributed + books.lost) as i128);
    assert_eq!(books.running, 0);
    assert_eq!(outcome.ledger.kept(), 0);
    assert!(
        outcome.pending <= outcome.bound,
        "{setup:?}: {} of {} µJ are pending",
        outcome.pending,
        outcome.bound
    );
}

fn answers_are_true(setup: &Setup, name: &str) {
    let outcome = run(setup);
    balances(setup, &outcome);
    assert_eq!(outcome.ledger.books().lost, 0);
    let tick = setup.seen_tick_ns();
    let learnt = setup.quiet_ns + LEARNT_TICKS * tick;
    let alone = setup.concurrency == 1;
    let answers = outcome.answers.iter();
    let long = answers.clone().filter(|a| a.ns > 3 * tick && (alone || a.nth >= 20));
    let short = answers.clone().filter(|a| a.ns < tick && a.nth >= 200 && a.end_ns > learnt);
    let (long, short) = (beyond(long, 0.05), beyond(short, 0.10));
    let of = format!(
        "{name}, {} at a time, {:?}",
        setup.concurrency,
        (setup.tick_ns, setup.reading_ns, setup.period_ns)
    );
    println!(
        "{of}: beyond 5 % {:.4}, worst {:.3}; beyond 10 % {:.4}, worst {:.3}; pending {:.2} of {:.2} J",
        long.0,
        long.1,
        short.0,
        short.1,
        outcome.pending / 1e6,
        outcome.bound / 1e6
    );
    if alone {
        assert!(long.1 <= 0.05 && short.1 <= 0.10, "{of}: {long:?} {short:?}");
    } else {
        assert!(long.0 <= 0.005 && long.1 <= 0.10, "{of}: {long:?}");
        // Single ones are further off soon after the start, while two powers are still mixed up; by how much depends on
        // chance. With other seeds the worst of 130,000 was 13.1 %.
        assert!(short.0 <= 0.002 && short.1 <= 0.15, "{of}: {short:?}");
    }
    // The sums say the same as the counter, and idle is what the device draws idle.
    let books = outcome.ledger.books();
    let idle = setup.idle_w * (books.total as f64 / outcome.counted) * outcome.run_ns as f64 / 1e3;
    assert!((books.idle as f64 / idle - 1.0).abs() < 0.01, "{of}: {} for {idle} µJ of idle", books.idle);
}

#[test]
fn short_executions_are_told_what_they_cost() {
    for meter in METERS {
        for concurrency in [1, 4, 32] {
            let setup = Setup { run_ns: 15 * SECOND, ..Setup::new(short(), concurrency, meter) };
            answers_are_true(&setup, "short");
        }
    }
}

/// As those that are much shorter than any tick that the sampling can see, which is of 5 ms at least.
#[test]
fn very_short_executions_need_not_be_announced() {
    for meter in METERS.into_iter().filter(|(_, _, period)| *period >= 5) {
        for concurrency in [1, 4, 32] {
            let kinds = sizes(MS / 25, MS / 100, 2_000.0, 500.0);
            let setup = Setup {
                run_ns: 10 * SECOND,
                unannounced: true,
                pause_ns: MS / 5,
                ..Setup::new(kinds, concurrency, meter)
            };
            answers_are_true(&setup, "very short");
        }
    }
}

#[test]
fn long_executions_are_told_what_they_cost() {
    for meter in METERS {
        for concurrency in [1, 4, 32] {
            answers_are_true(
                &Setup { run_ns: 60 * SECOND, ..Setup::new(long(), concurrency, meter) },
                "long",
            );
        }
    }
}

#[test]
fn two_models_at_once_pay_for_themselves() {
    for meter in METERS {
        for concurrency in [4, 32] {
            let kinds = [short(), long()].concat();
            let setup = Setup { models: 2, run_ns: 40 * SECOND, ..Setup::new(kinds, concurrency, meter) };
            answers_are_true(&setup, "two models");
        }
    }
}

#[test]
fn a_reload_loses_nothing() {
    for meter in METERS {
        for concurrency in [1, 4, 32] {
            let (reload_at, run_ns) = (Some(5 * SECOND), 9 * SECOND);
            let setup = Setup { reload_at, run_ns, ..Setup::new(short(), concurrency, meter) };
            let outcome = run(&setup);
            balances(&setup, &outcome);
            let retired = outcome.ledger.retired();
            assert!(retired.told > 0 && retired.attributed > 0);
            // What is left there is not more than was under way.
            assert!((retired.pending().abs() as f64) < outcome.bound, "{setup:?}: {}", retired.pending());
        }
    }
}

#[test]
fn a_dead_meter_costs_no_client_anything() {
    for meter in METERS {
        for concurrency in [1, 4, 32] {
            // Long after it is known what executions cost.
            let dead = Some((12 * SECOND, 14 * SECOND));
            let setup = Setup { dead, run_ns: 16 * SECOND, ..Setup::new(short(), concurrency, meter) };
            let outcome = run(&setup);
            let books = outcome.ledger.books();
            assert_eq!(books.told as i128 + books.pending, (books.attributed + books.lost) as i128);
            assert!(books.lost > 0);
            let after = outcome.answers.iter().filter(|answer| answer.end_ns > 14 * SECOND);
            let (beyond, worst) = beyond(after, 0.10);
            assert!(beyond <= 0.002 && worst <= 0.13, "{setup:?}: {beyond} {worst}");
            // What was lost is what ran without a meter.
            let gap = outcome.answers.iter().filter(|a| a.end_ns > 12 * SECOND && a.end_ns <= 14 * SECOND);
            let spent: f64 = gap.map(|answer| answer.truth).sum();
            let off = books.lost as f64 / spent - 1.0;
            assert!(off.abs() < 0.12, "{setup:?}: {off}");
        }
    }
}

#[test]
fn the_error_that_is_told_is_about_the_error_that_is_made() {
    let setup = Setup { run_ns: 60 * SECOND, ..Setup::new(long(), 1, (100, 25, 100)) };
    let outcome = run(&setup);
    let known: Vec<&Answer> = outcome.answers.iter().filter(|answer| answer.nth > 3).collect();
    let within = known.iter().filter(|a| (a.told - a.truth).abs() <= 3.0 * a.error).count();
    assert!(within * 100 >= known.len() * 95, "{within} of {}", known.len());
    assert!(known.iter().all(|answer| answer.error < answer.truth * 0.25 && answer.measured_percent > 0.0));
}
