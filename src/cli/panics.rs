//! What the log says of a panic: where, and in the words that stand there.
//!
//! Not what it was about: a message made while running may quote what a camera,
//! a viewer or the configuration said, secrets among it. The place suffices to
//! find it.

use std::any::Any;
use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::error;

/// Sends panics to the log, as one event each.
pub(super) fn to_the_log() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current().name().unwrap_or_default().to_owned();
        // Functions and lines alone; `RUST_BACKTRACE` asks for it.
        let backtrace = Backtrace::capture();
        error!(place, thread, message = words(info.payload()), %backtrace, "a fault of Porthole's own");
    }));
}

/// A message that was written into the source.
fn words(payload: &(dyn Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("kept back, since it may quote a secret")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::logging;

    const ASKED: &str = "PORTHOLE_TEST_PANICS";
    const CANARY: &str = "CanaryPanicq7Zk3vX9";

    fn refused() -> Result<(), String> {
        Err(std::env::var(ASKED).unwrap())
    }

    /// Only in the process that the next test starts.
    #[test]
    fn panics_with_a_secret() {
        if std::env::var_os(ASKED).is_none() {
            return;
        }
        logging::start(Some(logging::Format::Json));
        let panics: [fn(); 3] = [
            || panic!("rtsp://ann:{}@camera/", std::env::var(ASKED).unwrap()),
            || refused().unwrap(),
            || panic!("words of the source"),
        ];
        for panics in panics {
            std::thread::spawn(panics).join().unwrap_err();
        }
    }

    #[test]
    fn a_panic_is_in_the_log_with_its_place_and_no_secret() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::panics::tests::panics_with_a_secret", "--nocapture"])
            .env(ASKED, CANARY)
            .env("RUST_BACKTRACE", "full")
            .env("RUST_LOG", "trace")
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(output.status.success(), "{told}");
        assert!(!told.contains(CANARY), "{told}");
        assert!(told.matches("src/cli/panics.rs:").count() >= 3, "{told}");
        assert_eq!(told.matches("kept back").count(), 2, "{told}");
        assert_eq!(told.matches("words of the source").count(), 1, "{told}");
    }
}
