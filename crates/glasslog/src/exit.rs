//! Exit codes: part of the interface, so they have one home (DESIGN §7).

use std::process::ExitCode;

/// How a command ended. The numbers are fixed: scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for a verifying command: everything holds.
    Ok = 0,
    /// Mismatch, or replaced since. `ingest`: a record could not be logged. `fsck`, `bench`: difference, loss.
    Mismatch = 1,
    /// Not logged.
    NotLogged = 2,
    /// True once, but too old to be called current.
    Stale = 3,
    /// The log (or a witness) cannot be reached, or gave an answer that does not verify.
    LogFailure = 4,
    /// This machine's own trouble, for example a file that cannot be read.
    OwnFailure = 5,
    /// Wrong usage or settings.
    Usage = 64,
}

impl Exit {
    /// The worse of two, in the order 4, 1, 2, 5, 3, 0. Usage errors stop a command before it has a second result.
    #[must_use]
    pub fn worst(self, other: Exit) -> Exit {
        if self.rank() >= other.rank() { self } else { other }
    }

    fn rank(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Stale => 1,
            Exit::OwnFailure => 2,
            Exit::NotLogged => 3,
            Exit::Mismatch => 4,
            Exit::LogFailure => 5,
            Exit::Usage => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not finish, and the code it ends with. The command prints the chain of causes.
///
/// `?` on any error gives [`Exit::OwnFailure`]; [`OrExit::or_exit`] names another code.
#[derive(Debug)]
pub struct Failed {
    /// The exit code.
    pub exit: Exit,
    /// What to tell the user.
    pub error: anyhow::Error,
}

impl Failed {
    /// A failure that is a sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failed {
        Failed { exit, error: anyhow::Error::msg(message.into()) }
    }

    /// What went wrong and why, each layer once: some quote their cause themselves.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = self.error.to_string();
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            if !reason.ends_with(&cause) {
                reason = format!("{reason}: {cause}");
            }
        }
        reason
    }

    /// Wrong usage or settings (64).
    pub fn usage(message: impl Into<String>) -> Failed {
        Failed::new(Exit::Usage, message)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed { exit: Exit::OwnFailure, error: error.into() }
    }
}

/// What a command's `run` returns.
pub type Outcome = Result<Exit, Failed>;

/// Gives an error its exit code.
pub trait OrExit<T> {
    /// On error: fails with `exit`.
    ///
    /// # Errors
    ///
    /// The error itself, with the code.
    fn or_exit(self, exit: Exit) -> Result<T, Failed>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failed> {
        self.map_err(|error| Failed { exit, error: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, Failed};

    #[test]
    fn a_cause_is_told_once() {
        let failed = |outer: &'static str| Failed {
            exit: Exit::LogFailure,
            error: anyhow::anyhow!("bit 7 is wrong").context(outer).context("the file is not believed"),
        };
        let told = "the file is not believed: the proof: bit 7 is wrong";
        assert_eq!(failed("the proof").reason(), told);
        assert_eq!(failed("the proof: bit 7 is wrong").reason(), told);
    }

    /// The order of DESIGN §7, written out.
    #[test]
    fn the_worst_wins_in_the_order_4_1_2_5_3() {
        let order =
            [Exit::LogFailure, Exit::Mismatch, Exit::NotLogged, Exit::OwnFailure, Exit::Stale, Exit::Ok];
        for (place, worse) in order.iter().enumerate() {
            for better in &order[place..] {
                assert_eq!(worse.worst(*better), *worse);
                assert_eq!(better.worst(*worse), *worse);
            }
        }
    }
}
