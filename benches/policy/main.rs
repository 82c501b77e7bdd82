//! How far the policy of adaptive batching is from the optimum.

mod arrivals;
#[allow(dead_code)]
mod backend;
mod chain;
mod fixed;
mod online;
mod optimum;
mod simulate;
mod solver;
mod values;

/// What those files take from the backend's configuration.
mod config {
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Target {
        pub latency_ns: u64,
        pub percentile: f64,
    }
}

use arrivals::Mmpp;
use online::Online;
use optimum::Frontier;
use simulate::{MS, Machine, Scatter, simulate};

fn main() {
    let shapes = [
        ("fixed", 20.0, 2.0, 16, 200.0),
        ("inception", 18.0, 40.0, 16, 600.0),
        ("gpu", 1.0, 0.05, 64, 10.0),
    ];
    let only = std::env::args().nth(1);
    let requests = 50_000;
    for (name, fixed_ms, each_ms, most, target) in shapes {
        if only.as_ref().is_some_and(|only| only != name && only.parse::<f64>().is_err()) {
            continue;
        }
        let times: Vec<f64> = (1..=most).map(|rows| (fixed_ms + each_ms * rows as f64) * MS).collect();
        let machine =
            Machine { costs: times.clone(), times, scatter: Scatter::USUAL, target: target * MS };
        println!("{name}");
        for load in [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95] {
            if std::env::var("LOAD").is_ok_and(|l| l.parse() != Ok(load)) { continue; }
            let process = Mmpp::poisson(load * machine.capacity());
            let open = process.draw(requests, 42);
            let warm_up = 1000;
            let t0 = std::time::Instant::now();
            let (setting, fixed) = fixed::best(&machine, || open.clone(), 0.01, warm_up);
            let t1 = t0.elapsed();
            println!("{load} fixed {setting} {:.2} {:.3} rows {:.1} {t1:?}", fixed.late*100.0, fixed.cost / MS, fixed.rows);
            for refuses in [false, true] {
                let t0 = std::time::Instant::now();
                let o = simulate(&machine, &mut open.clone(), &mut Online::new(&machine, 99.0, refuses), warm_up, 1);
                let t1 = t0.elapsed();
                println!("{load} online late {:.2} refused {:.2} cost {:.3} rows {:.1} {t1:?}", o.late*100.0, o.refused*100.0, o.cost / MS, o.rows);
                let t0 = std::time::Instant::now();
                let mut frontier = Frontier::new(&machine, &process, &open, warm_up, refuses);
                frontier.reach(0.01);
                frontier.reach(o.missed());
                println!("    {:?} {}", t0.elapsed(), frontier.sweeps);
                for p in &frontier.points {
                    println!("   {:8.1} late {:.2} refused {:.2} cost {:.3} rows {:.1}", p.price, p.outcome.late*100.0, p.outcome.refused*100.0, p.outcome.cost/MS, p.outcome.rows);
                }
                println!("    distance {:.2} %", (o.cost/frontier.cost(o.missed()).unwrap_or(f64::NAN)-1.0)*100.0);
            }
        }
    }
}
