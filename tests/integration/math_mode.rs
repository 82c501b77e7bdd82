//! oneDNN's math mode: FP32 models are computed in BF16 where somebody asked for it, and nowhere else.

use crate::support::*;

/// Where oneDNN looks for the mode.
const VARIABLE: &str = "ONEDNN_DEFAULT_FPMATH_MODE";

/// What the backend tells when the option turns the mode on.
const ON: &str = "BF16 math mode is on for all models of this process";

/// BF16 keeps eight bits of a number; over the layers of a network the errors grow.
const BF16_TOLERANCE: f64 = 0.25;

/// What oneDNN adds to its line about each primitive in the mode, whatever the CPU then makes of it.
const BF16_ALLOWED: &str = "attr-fpmath:bf16";

/// A server whose oneDNN tells of each primitive in the log.
fn telling() -> Options {
    Options::new()
        .environment("ONEDNN_VERBOSE", "1")
        // On CPUs where TensorFlow uses oneDNN only when told to.
        .environment("TF_ENABLE_ONEDNN_OPTS", "1")
}

/// `weights` of the small models, computed here in FP64.
fn weights_answer(rows: &[f32]) -> Vec<f32> {
    const HIDDEN: usize = 2048;
    let value = |index: usize| (index % 7) as f64 / 8.0 - 0.25;
    let answer = |row: &[f32]| -> Vec<f32> {
        let hidden = |column: usize| {
            let product = row.iter().enumerate().map(|(i, x)| f64::from(*x) * value(i * HIDDEN + column));
            (product.sum::<f64>() + value(column)).max(0.0)
        };
        let hidden: Vec<f64> = (0..HIDDEN).map(hidden).collect();
        let output = |column: usize| {
            let product = hidden.iter().enumerate().map(|(i, x)| x * value(i * 4 + column));
            (2.0 * (product.sum::<f64>() + value(0)).max(0.0) + value(1)) as f32
        };
        (0..4).map(output).collect()
    };
    rows.chunks_exact(16).flat_map(answer).collect()
}

/// Loads `weights` and asks it; the relative error of its answer.
fn weights_error(server: &Server) -> f64 {
    let model = "math_mode_weights";
    let config = ModelConfig::new(model, 8).input("x", "FP32", &[16]).output("y", "FP32", &[4]).instances(1);
    server.load(&config, SavedModel::Small("weights"));
    let values = Random::new(21).floats(8 * 16);
    let request = InferRequest::new(vec![Tensor::fp32("x", &[8, 16], &values)]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    relative_error(&answer.output("y").as_f32(), &weights_answer(&values))
}

fn has_avx512() -> bool {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").expect("Linux tells of its CPUs");
    cpu.split_whitespace().any(|flag| flag == "avx512f")
}

#[test]
fn another_mode_is_refused() {
    let server = Server::start(Options::new().backend_config("fpmath-mode", "fp16"));
    let message = server
        .try_load(&add_one_config("any", 8), SavedModel::Small("add_one"))
        .expect_err("there is no such mode");
    println!("{message}");
    // Where a backend fails to initialise, the server's answer may be short; the log has the reason.
    let told = format!("{message}\n{}", server.log());
    for part in ["'fpmath-mode'", "--backend-config", "expected strict or bf16", "found 'fp16'"] {
        assert!(told.contains(part), "'{part}' is missing in: {told}");
    }
    assert!(server.is_running());
}

/// On CPUs that cannot compute in BF16, too: oneDNN tells of the mode also where it makes nothing of it, from AVX-512 on.
#[test]
fn the_option_decides_and_without_it_the_environment() {
    let follows = "is in the server's environment, and TensorFlow follows it";
    for (option, variable, expected, tells) in [
        (None, None, false, None),
        (Some("strict"), None, false, None),
        (Some("bf16"), None, true, Some(ON)),
        (None, Some("BF16"), true, Some(follows)),
        (Some("strict"), Some("BF16"), false, None),
        (Some("bf16"), Some("STRICT"), true, Some(ON)),
    ] {
        let case = format!("fpmath-mode {option:?}, {VARIABLE} {variable:?}");
        let mut options = telling();
        if let Some(option) = option {
            options = options.backend_config("fpmath-mode", option);
        }
        if let Some(variable) = variable {
            options = options.environment(VARIABLE, variable);
        }
        let server = Server::start(options);
        let error = weights_error(&server);
        let tolerance = if expected { BF16_TOLERANCE } else { 1e-5 };
        assert!(error < tolerance, "{case}: a relative error of {error}");
        let log = server.log();
        if has_avx512() {
            assert!(log.contains("inner_product"), "{case}: oneDNN tells nothing");
            assert_eq!(log.contains(BF16_ALLOWED), expected, "{case}");
        } else {
            left_out(
                "what oneDNN makes of fpmath-mode",
                "with AVX2 it multiplies matrices in a way that tells no mode",
            );
        }
        for line in [ON, follows] {
            assert_eq!(log.contains(line), tells == Some(line), "{case}: {line}");
        }
    }
}

/// On CPUs that have BF16 the answers tell, too.
#[test]
fn inception_in_bf16_is_near_fp32_but_not_equal() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").expect("the kernel tells of the CPU");
    if !cpu.split_whitespace().any(|flag| ["amx_bf16", "avx512_bf16"].contains(&flag)) {
        skipped("this CPU has no BF16, so FP32 is computed as it is");
        return;
    }
    let _turn = heavy_turn();
    let server = Server::start(Options::new().backend_config("fpmath-mode", "bf16"));
    let model = "math_mode_inception";
    server.load(&inception_config(model), SavedModel::Inception);
    let reference = inception_reference();
    let request = inception_request(&reference.input(0, 8));
    let answer = server.client().infer(model, &request).expect("the request is good");
    let error = relative_error(&answer.output("predictions").as_f32(), &reference.expected(0, 8));
    println!("a relative error of {error}");
    assert!(error > 1e-4, "a relative error of {error} is that of FP32");
    assert!(error < BF16_TOLERANCE, "a relative error of {error} is more than BF16 makes");
}
