//! The solver and the simulation against what is known otherwise.

use std::collections::VecDeque;

use crate::arrivals::Mmpp;
use crate::chain::Chain;
use crate::optimum::Optimum;
use crate::simulate::{Decision, MS, Machine, Policy, Scatter, simulate};
use crate::solver::{Prices, Solution};

/// # Panics
/// Something is not as it is known to be.
pub fn run() {
    costs_by_the_row_do_not_depend_on_the_batches();
    without_a_hurry_all_batches_are_full();
    single_rows_are_late_as_in_the_formula();
    two_rows_wait_as_long_as_is_best();
    println!("Self-test passed.");
}

fn machine(fixed_ms: f64, each_ms: f64, max_batch_size: usize, target_ms: f64) -> Machine {
    let times: Vec<f64> = (1..=max_batch_size).map(|rows| (fixed_ms + each_ms * rows as f64) * MS).collect();
    Machine { costs: times.clone(), times, scatter: Scatter::EXACT, target: target_ms * MS }
}

fn solve(chain: &Chain, late: f64, may_refuse: bool) -> Solution {
    let prices = Prices { late, refused: late + chain.costs[0], may_refuse };
    Solution::new(chain, prices, chain.max_batch_size as f64, None)
}

fn assert_near(what: &str, is: f64, should: f64, by: f64) {
    assert!((is / should - 1.0).abs() < by, "{what}: {is}, not {should}");
}

/// What is paid for each request.
fn for_each(chain: &Chain, solution: &Solution) -> f64 {
    solution.gain / chain.mean_rate
}

fn costs_by_the_row_do_not_depend_on_the_batches() {
    let machine = machine(0.0, 10.0, 4, 1_000.0);
    for process in [Mmpp::poisson(0.05 / MS), Mmpp::bursty(0.05 / MS, 3.0, 200.0 * MS)] {
        let chain = Chain::new(&machine, &process, 50, 40);
        let solution = solve(&chain, 0.0, false);
        assert_near("cost by the row", for_each(&chain, &solution), 10.0 * MS, 0.01);
    }
}

fn without_a_hurry_all_batches_are_full() {
    let machine = machine(20.0, 5.0, 4, 5_000.0);
    let chain = Chain::new(&machine, &Mmpp::poisson(0.05 / MS), 200, 12);
    let solution = solve(&chain, 0.0, false);
    assert_near("cost of full batches", for_each(&chain, &solution), 10.0 * MS, 0.01);
}

/// A queue with Poisson arrivals, constant service times and one server: Erlang's distribution of the wait.
fn single_rows_are_late_as_in_the_formula() {
    let (time, load, target) = (10.0, 0.7, 45.0);
    let machine = machine(0.0, time, 1, target);
    let rate = load / time;
    let wait = target - time;
    let mut in_time = 0.0;
    for k in 0..=(wait / time) as usize {
        let rest = rate * (wait - k as f64 * time);
        let factorial: f64 = (1..=k).map(|i| i as f64).product();
        in_time += (1.0 - load) * (-rest).powi(k as i32) / factorial * rest.exp();
    }
    let process = Mmpp::poisson(rate / MS);
    let chain = Chain::new(&machine, &process, 180, 30);
    let price = 100.0 * MS;
    let solution = solve(&chain, price, false);
    let late = (for_each(&chain, &solution) - time * MS) / price;
    assert_near("late share by the solver", late, 1.0 - in_time, 0.05);
    let arrivals = process.draw(200_000, 3);
    let mut policy = Optimum::new(&chain, &solution, &arrivals.phases);
    let outcome = simulate(&machine, &mut arrivals.clone(), &mut policy, 0, 1);
    assert_near("late share by simulation", outcome.late, 1.0 - in_time, 0.05);
}

/// Runs two rows at once, and one when it has waited for so long.
struct Patient {
    patience: u64,
    waiting: VecDeque<u64>,
}

impl Policy for Patient {
    fn arrived(&mut self, now: u64, _: u64) -> bool {
        self.waiting.push_back(now);
        true
    }

    fn decide(&mut self, now: u64) -> Decision {
        let Some(oldest) = self.waiting.front() else { return Decision::Idle };
        let latest = oldest + self.patience;
        if self.waiting.len() == 1 && now < latest {
            return Decision::LookAgain(latest);
        }
        let rows = self.waiting.len().min(2);
        self.waiting.drain(..rows);
        Decision::Run(rows)
    }

    fn executed(&mut self, _: u64, _: usize, _: u64) {}
}

/// With batches of two at most there is one question, how long one waits for another.
fn two_rows_wait_as_long_as_is_best() {
    let machine = machine(20.0, 2.0, 2, 100.0);
    let process = Mmpp::poisson(0.03 / MS);
    let price = 40.0 * MS;
    let arrivals = process.draw(200_000, 5);
    let paid = |policy: &mut dyn Policy| {
        let outcome = simulate(&machine, &mut arrivals.clone(), policy, 0, 1);
        outcome.cost + price * outcome.late
    };
    let tried = (0..100).map(|ms| paid(&mut Patient { patience: ms * MS as u64, waiting: VecDeque::new() }));
    let best = tried.fold(f64::INFINITY, f64::min);
    let chain = Chain::new(&machine, &process, 100, 20);
    for may_refuse in [false, true] {
        let solution = solve(&chain, price, may_refuse);
        let solved = paid(&mut Optimum::new(&chain, &solution, &arrivals.phases));
        // The solver may also run one of two, and so be a little better.
        assert!(may_refuse || solved < 1.003 * best, "{solved}, and {best} by trying");
        assert_near("what the solver expects", for_each(&chain, &solution), solved, 0.03);
    }
}
