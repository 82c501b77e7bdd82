//! The model parameters of config.pbtxt that this backend knows.

use super::batching::BatchingParameters;
use super::energy::EnergyScope;
use super::setting::{Setting, is_inside, nearest};
use super::values::{
    BATCH_SIZE_BUCKETS, BatchSizeBuckets, Freeze, INIT_OPS_FILE, InlineExecution, LATENCY_PARAMETERS, Step,
    Threads,
};
use crate::triton::Result;

/// What the parameters say.
#[derive(Debug)]
pub struct Parameters {
    pub latency_parameters: Option<bool>,
    pub energy_scope: Option<EnergyScope>,
    pub batching: BatchingParameters,
    pub batch_size_buckets: BatchSizeBuckets,
    pub graph_tag: String,
    pub signature: Option<String>,
    pub session_share_count: usize,
    pub threads: Threads,
    pub inline: InlineExecution,
    pub freeze: Freeze,
    pub init_ops_file: Option<String>,
    pub test_panic: Option<Step>,
    pub test_gpu: bool,
    /// The names of those that mean nothing here.
    pub unknown: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            latency_parameters: None,
            energy_scope: None,
            batching: BatchingParameters::default(),
            batch_size_buckets: BatchSizeBuckets::default(),
            graph_tag: "serve".into(),
            signature: None,
            session_share_count: 1,
            threads: Threads::default(),
            inline: InlineExecution::default(),
            freeze: Freeze::default(),
            init_ops_file: None,
            test_panic: None,
            test_gpu: false,
            unknown: Vec::new(),
        }
    }
}

/// Reads the text of one parameter.
type Set = fn(&mut Parameters, &Setting<'_>) -> Result<()>;

/// Every parameter there is, by name. docs/configuration.md describes them to users.
const PARAMETERS: [(&str, Set); 17] = [
    (LATENCY_PARAMETERS, |to, setting| setting.boolean().map(|on| to.latency_parameters = Some(on))),
    ("energy_scope", |to, setting| EnergyScope::read(setting).map(|scope| to.energy_scope = Some(scope))),
    ("batching", |to, setting| to.batching.set_batching(setting)),
    ("latency_target_ms", |to, setting| to.batching.set_target(setting)),
    ("latency_percentile", |to, setting| to.batching.set_percentile(setting)),
    ("max_queue_size", |to, setting| to.batching.set_max_queue_size(setting)),
    ("max_wait_ms", |to, setting| to.batching.set_max_wait(setting)),
    (BATCH_SIZE_BUCKETS, |to, setting| {
        to.batch_size_buckets = match setting.value.to_ascii_lowercase().as_str() {
            "auto" => BatchSizeBuckets::Auto,
            "off" | "false" => BatchSizeBuckets::Off,
            _ => setting.ascending_counts().map(BatchSizeBuckets::Sizes).ok_or_else(|| {
                setting.wrong("auto, off, or batch sizes of 1 or more in ascending order, such as 1,2,4,8")
            })?,
        };
        Ok(())
    }),
    ("TF_GRAPH_TAG", |to, setting| {
        // Nothing is the default, as without the parameter.
        if !setting.value.is_empty() {
            to.graph_tag = setting.value.into();
        }
        Ok(())
    }),
    ("TF_SIGNATURE_DEF", |to, setting| {
        to.signature = Some(setting.value.into()).filter(|name: &String| !name.is_empty());
        Ok(())
    }),
    (INIT_OPS_FILE, |to, setting| {
        let expected = "a file's name inside the model's folder, without a leading / and without ..";
        is_inside(setting.value).then_some(()).ok_or_else(|| setting.wrong(expected))?;
        to.init_ops_file = Some(setting.value.into());
        Ok(())
    }),
    ("TF_NUM_INTRA_THREADS", |to, setting| {
        setting.thread_count().map(|count| to.threads.intra = Some(count))
    }),
    ("TF_NUM_INTER_THREADS", |to, setting| {
        setting.thread_count().map(|count| to.threads.inter = Some(count))
    }),
    ("TF_USE_PER_SESSION_THREADS", |to, setting| setting.boolean().map(|own| to.threads.per_session = own)),
    ("MAX_SESSION_SHARE_COUNT", |to, setting| {
        to.session_share_count = match setting.count()? {
            0 => return Err(setting.wrong("a positive number")),
            count => count as usize,
        };
        Ok(())
    }),
    ("TF_RUN_IN_CALLING_THREAD", |to, setting| {
        to.inline = match setting.auto_or_boolean()? {
            None => InlineExecution::Measured,
            Some(true) => InlineExecution::Always,
            Some(false) => InlineExecution::Never,
        };
        Ok(())
    }),
    ("TF_FREEZE", |to, setting| {
        to.freeze = match setting.auto_or_boolean() {
            _ if setting.value.eq_ignore_ascii_case("verify") => Freeze::Verified,
            Ok(None) => Freeze::Auto,
            Ok(Some(true)) => Freeze::Unverified,
            Ok(Some(false)) => Freeze::Never,
            Err(_) => return Err(setting.wrong("auto, verify, true or false")),
        };
        Ok(())
    }),
];

/// For this project's own tests, and so not listed for users: panics in the named step for a request whose id is
/// "panic".
const TEST_PANIC: &str = "test_panic";
/// For tests as well: the model is treated as one on a GPU, without one.
const TEST_GPU: &str = "test_gpu";

impl Parameters {
    /// Reads one parameter.
    ///
    /// # Errors
    /// A value that the parameter does not take, or a parameter that this backend does not honour.
    pub fn set(&mut self, setting: &Setting<'_>) -> Result<()> {
        if let Some((_, set)) = PARAMETERS.iter().find(|(name, _)| *name == setting.name) {
            return set(self, setting);
        }
        match setting.name {
            TEST_PANIC => {
                self.test_panic = Some(match setting.value {
                    "execute" => Step::Execute,
                    "gather" => Step::Gather,
                    "scatter" => Step::Scatter,
                    _ => return Err(setting.wrong("execute, gather or scatter")),
                });
            }
            TEST_GPU => self.test_gpu = setting.boolean()?,
            unknown => self.unknown.push(unknown.to_string()),
        }
        Ok(())
    }

    /// A name that is none of a parameter, with the one that may have been meant.
    pub fn nearest(unknown: &str) -> String {
        nearest(unknown, &PARAMETERS.map(|(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Parameters> {
        let mut parameters = Parameters::default();
        parameters.set(&Setting { place: "the parameters of config.pbtxt", name, value })?;
        Ok(parameters)
    }

    #[test]
    fn wrong_values_are_named() {
        for (name, value, expected) in [
            ("latency-parameters", "maybe", "expected true or false, found 'maybe'"),
            ("batching", "dynamic", "expected adaptive or triton, found 'dynamic'"),
            (
                "batch_size_buckets",
                "powers",
                "expected auto, off, or batch sizes of 1 or more in ascending order",
            ),
            ("batch_size_buckets", "2,1", "found '2,1'"),
            ("TF_NUM_INTRA_THREADS", "-1", "expected a whole number"),
            ("TF_NUM_INTER_THREADS", "4.5", "expected a whole number"),
            ("TF_NUM_INTRA_THREADS", "1000000", "to 1024, found '1000000'"),
            ("TF_NUM_INTER_THREADS", "1025", "to 1024, found '1025'"),
            ("TF_USE_PER_SESSION_THREADS", "", "expected true or false, found ''"),
            ("TF_RUN_IN_CALLING_THREAD", "maybe", "expected auto, true or false, found 'maybe'"),
            ("TF_FREEZE", "maybe", "expected auto, verify, true or false, found 'maybe'"),
            ("TF_INIT_OPS_FILE", "../ops.json", "expected a file's name inside the model's folder"),
            ("TF_INIT_OPS_FILE", "", "expected a file's name"),
            ("MAX_SESSION_SHARE_COUNT", "many", "expected a whole number"),
            ("MAX_SESSION_SHARE_COUNT", "0", "expected a positive number, found '0'"),
            ("test_panic", "never", "expected execute, gather or scatter"),
        ] {
            let error = read(name, value).unwrap_err().message;
            assert!(error.contains(&format!("'{name}'")) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_empty_name_is_the_default() {
        let named = |name: &str, value: &str| read(name, value).unwrap();
        assert_eq!(named("TF_GRAPH_TAG", "").graph_tag, "serve");
        assert_eq!(named("TF_GRAPH_TAG", "serve,gpu").graph_tag, "serve,gpu");
        assert_eq!(named("TF_SIGNATURE_DEF", "").signature, None);
        assert_eq!(named("TF_SIGNATURE_DEF", "double").signature.as_deref(), Some("double"));
    }

    #[test]
    fn freezing_can_be_verified_or_turned_off() {
        assert_eq!(Parameters::default().freeze, Freeze::Auto);
        for (value, expected) in [
            ("auto", Freeze::Auto),
            ("AUTO", Freeze::Auto),
            ("verify", Freeze::Verified),
            ("Verify", Freeze::Verified),
            ("true", Freeze::Unverified),
            ("false", Freeze::Never),
            ("Off", Freeze::Never),
        ] {
            assert_eq!(read("TF_FREEZE", value).unwrap().freeze, expected, "{value}");
        }
    }

    #[test]
    fn buckets_are_a_word_or_ascending_sizes() {
        assert_eq!(Parameters::default().batch_size_buckets, BatchSizeBuckets::Auto);
        let sizes = |sizes: &[u32]| BatchSizeBuckets::Sizes(sizes.to_vec());
        for (value, expected) in [
            ("auto", BatchSizeBuckets::Auto),
            ("Auto", BatchSizeBuckets::Auto),
            ("off", BatchSizeBuckets::Off),
            ("FALSE", BatchSizeBuckets::Off),
            ("1", sizes(&[1])),
            ("1,2,4,8,16", sizes(&[1, 2, 4, 8, 16])),
            (" 3, 5 ,2147483647", sizes(&[3, 5, 2_147_483_647])),
        ] {
            assert_eq!(read("batch_size_buckets", value).unwrap().batch_size_buckets, expected, "{value}");
        }
        for value in [
            "",
            ",",
            "1,",
            ",1",
            "0",
            "0,1",
            "1,1",
            "4,2",
            "-1",
            "1;2",
            "1 2",
            "1.5",
            "true",
            "on",
            "2147483648",
        ] {
            let error = read("batch_size_buckets", value).unwrap_err().message;
            assert!(error.ends_with(&format!("such as 1,2,4,8, found '{value}'")), "{error}");
        }
    }

    #[test]
    fn a_parameter_is_listed_once_and_others_are_only_noted() {
        let mut names = PARAMETERS.map(|(name, _)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert_eq!(read("mine", "x").unwrap().unknown, ["mine"]);
        assert!([TEST_PANIC, TEST_GPU].iter().all(|name| !Parameters::nearest("x").contains(name)));
        assert_eq!(Parameters::nearest("TF_FREEZ"), "'TF_FREEZ' (did you mean 'TF_FREEZE'?)");
    }
}
