//! How a run goes: TensorFlow's `RunOptions`.

use std::time::Duration;

use once_cell::sync::OnceCell;

use super::buffer::Buffer;
use super::proto::run;

/// How a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions(Choice);

/// The options there are, as indices of their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Default,
    Inline,
    Limited,
    Patient,
    HandOutGraphs,
    Compiling,
}

impl RunOptions {
    /// Operations run in TensorFlow's threads.
    pub const DEFAULT: Self = Self(Choice::Default);
    /// Operations run in the calling thread.
    pub const INLINE: Self = Self(Choice::Inline);
    /// In TensorFlow's threads, for 500 ms at most.
    pub const LIMITED: Self = Self(Choice::Limited);
    /// In TensorFlow's threads, for 10 s at most.
    pub const PATIENT: Self = Self(Choice::Patient);
    /// As [`Self::PATIENT`], and the metadata of the run has the optimised graphs.
    pub const HAND_OUT_GRAPHS: Self = Self(Choice::HandOutGraphs);

    /// In TensorFlow's threads, for 2 minutes at most: on a GPU the kernels of a first run are chosen by trying them, and XLA
    /// compiles.
    pub const COMPILING: Self = Self(Choice::Compiling);

    const ALL: [Self; 6] =
        [Self::DEFAULT, Self::INLINE, Self::LIMITED, Self::PATIENT, Self::HAND_OUT_GRAPHS, Self::COMPILING];

    fn message(self) -> run::RunOptions {
        let default = run::RunOptions::default();
        match self.0 {
            Choice::Default => default,
            Choice::Inline => run::RunOptions { inter_op_thread_pool: -1, ..default },
            Choice::Limited => run::RunOptions { timeout_in_ms: 500, ..default },
            Choice::Patient => run::RunOptions { timeout_in_ms: 10_000, ..default },
            Choice::HandOutGraphs => {
                run::RunOptions { output_partition_graphs: true, ..Self::PATIENT.message() }
            }
            Choice::Compiling => run::RunOptions { timeout_in_ms: 120_000, ..default },
        }
    }

    /// For the run; nothing for the default. The buffers are made once and live as long as the process.
    pub fn buffer(self) -> Option<&'static Buffer> {
        static BUFFERS: OnceCell<[Buffer; 6]> = OnceCell::new();
        if self == Self::DEFAULT {
            return None;
        }
        let buffers = BUFFERS.get_or_init(|| Self::ALL.map(|options| Buffer::of(&options.message())));
        Some(&buffers[self.0 as usize])
    }
}

/// Options of a run that is cancelled after so much time, a millisecond at least: without a time it has no limit.
pub fn with_time(time: Duration) -> Buffer {
    let timeout_in_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
    Buffer::of(&run::RunOptions { timeout_in_ms, ..run::RunOptions::default() })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn the_options_are_tensorflows_protobuf() {
        // TensorFlow 2.20's RunOptions.FromString reads these bytes as what is meant.
        let expected: [&[u8]; 6] = [
            &[],
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x10, 0xf4, 0x03],
            &[0x10, 0x90, 0x4e],
            &[0x10, 0x90, 0x4e, 0x28, 1],
            &[0x10, 0xc0, 0xa9, 7],
        ];
        assert_eq!(RunOptions::ALL.map(|options| options.message().encode_to_vec()), expected);
        for (index, options) in RunOptions::ALL.into_iter().enumerate() {
            assert_eq!(options.0 as usize, index);
        }
    }
}
