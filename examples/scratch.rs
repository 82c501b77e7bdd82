#![allow(missing_docs)]
use std::time::{Duration, Instant};
use tensorflow::{Graph, SavedModelBundle, SessionOptions, SessionRunArgs, Tensor};
fn main() {
    tensorflow::library::load().unwrap();
    let folder = std::env::args().nth(1).unwrap();
    let gap: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let configs: Vec<(&str, Vec<u8>, bool)> = vec![
        ("default", vec![0x38, 1], false),
        ("run caller", vec![0x38, 1], true),
        (
            "sess inter=-1",
            {
                let mut v = vec![0x38, 1, 0x28];
                v.extend([0xff; 9]);
                v.push(1);
                v
            },
            false,
        ),
        (
            "single exec",
            {
                let mut v = vec![0x38, 1];
                let s = b"SINGLE_THREADED_EXECUTOR";
                v.push(16 << 3 & 0x7f | 0x80 | 2);
                v.push(1);
                v.push(s.len() as u8 + 2);
                v.push(3 << 3 | 2);
                v.push(s.len() as u8);
                v.extend(s);
                v
            },
            false,
        ),
        (
            "single exec + caller",
            {
                let mut v = vec![0x38, 1];
                let s = b"SINGLE_THREADED_EXECUTOR";
                v.push(16 << 3 & 0x7f | 0x80 | 2);
                v.push(1);
                v.push(s.len() as u8 + 2);
                v.push(3 << 3 | 2);
                v.push(s.len() as u8);
                v.extend(s);
                v
            },
            true,
        ),
    ];
    let tensor = Tensor::new(&[1, 16]).with_values(&[1.5_f32; 16]).unwrap();
    let mut all = vec![];
    for (name, config, caller) in configs {
        let mut options = SessionOptions::new();
        options.set_config(&config).unwrap();
        let mut graph = Graph::new();
        let bundle = match SavedModelBundle::load(&options, ["serve"], &mut graph, &folder) {
            Ok(b) => b,
            Err(e) => {
                println!("{name}: {e}");
                continue;
            }
        };
        let s = bundle.meta_graph_def().get_signature("serving_default").unwrap();
        let i = s.get_input("x").unwrap().name().clone();
        let o = s.get_output("y").unwrap().name().clone();
        all.push((name, bundle, graph, i, o, caller, vec![]));
    }
    for _ in 0..20 {
        for (_, bundle, graph, i, o, caller, times) in &mut all {
            for _ in 0..50 {
                if gap > 0 {
                    std::thread::sleep(Duration::from_micros(gap));
                }
                let iop = graph.operation_by_name_required(&i.name).unwrap();
                let oop = graph.operation_by_name_required(&o.name).unwrap();
                let start = Instant::now();
                let mut args = SessionRunArgs::new();
                args.add_feed(&iop, i.index, &tensor);
                let f = args.request_fetch(&oop, o.index);
                if *caller {
                    args.set_run_options(&[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
                }
                bundle.session.run(&mut args).unwrap();
                let t = args.fetch::<f32>(f).unwrap();
                times.push(start.elapsed().as_secs_f64() * 1e6);
                drop(t);
            }
        }
    }
    for (name, .., times) in &mut all {
        times.sort_by(f64::total_cmp);
        println!(
            "{name:<22} p10 {:.1} median {:.1} p90 {:.1}",
            times[times.len() / 10],
            times[times.len() / 2],
            times[times.len() * 9 / 10]
        );
    }
}
