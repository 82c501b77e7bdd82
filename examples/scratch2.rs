#![allow(missing_docs)]
use std::time::Instant;
use tensorflow::{Graph, SavedModelBundle, SessionOptions, SessionRunArgs, Tensor};
fn main() {
    tensorflow::library::load().unwrap();
    let folder = std::env::args().nth(1).unwrap();
    let t = Instant::now();
    let mut graph = Graph::new();
    let mut options = SessionOptions::new();
    options.set_config(&[0x38, 1]).unwrap();
    let bundle = SavedModelBundle::load(&options, ["serve"], &mut graph, &folder).unwrap();
    println!("load {:?}", t.elapsed());
    let s = bundle.meta_graph_def().get_signature("serving_default").unwrap();
    let i = s.get_input("input").unwrap().name().clone();
    let o = s.get_output("predictions").unwrap().name().clone();
    let t = Instant::now();
    println!("ops {}", graph.operation_iter().count());
    println!("count {:?}", t.elapsed());
    let t = Instant::now();
    let f = graph.get_functions().unwrap();
    println!("functions {} {:?}", f.len(), t.elapsed());
    let t = Instant::now();
    let b: usize = f.iter().map(|f| f.to_function_def().unwrap().len()).sum();
    println!("defs {b} {:?}", t.elapsed());
    let tensor = Tensor::<f32>::new(&[1, 299, 299, 3]);
    for k in 0..8 {
        let iop = graph.operation_by_name_required(&i.name).unwrap();
        let oop = graph.operation_by_name_required(&o.name).unwrap();
        let start = Instant::now();
        let mut args = SessionRunArgs::new();
        args.add_feed(&iop, i.index, &tensor);
        let f = args.request_fetch(&oop, o.index);
        if k % 2 == 1 {
            args.set_run_options(&[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        }
        bundle.session.run(&mut args).unwrap();
        args.fetch::<f32>(f).unwrap();
        println!("{k} {:?}", start.elapsed());
    }
}
