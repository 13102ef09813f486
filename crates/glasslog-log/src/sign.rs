//! The signatures of a checkpoint that is recorded already, when other keys sign for the log than signed it.

use bytes::Bytes;
use glasslog_core::note::{self, Note, NoteError, Signature, Signer};
use glasslog_store::log_state::SizedNote;

use crate::{Failure, publish::Publisher, quorum::Recorded};

impl Publisher {
    /// After a change of the keys (`glasslog key rotate`): the same checkpoint, signed by those that sign from now on.
    pub(crate) fn sign_by_todays_keys(&mut self) -> Result<(), Failure> {
        let Some(recorded) = &self.recorded else { return Ok(()) };
        let signers: Vec<_> = self.log.config.signers.iter().map(AsRef::as_ref).collect();
        let Some(note) = again(&recorded.note, &signers)? else { return Ok(()) };
        let sized = SizedNote { size: recorded.size, note: note.clone() };
        self.log.state.record_checkpoint(self.epoch, Some(recorded.size), sized)?;
        self.recorded = Some(Recorded { note, ..recorded.clone() });
        Ok(())
    }
}

/// The cosignatures of a checkpoint: every line but those of keys that sign notes.
pub(crate) fn cosignatures(note: &[u8]) -> Result<Vec<Signature>, NoteError> {
    let note = Note::parse(note)?;
    let longer = |line: &&Signature| line.bytes().len() > CHECKPOINT_SIGNATURE_BYTES;
    Ok(note.signatures().iter().filter(longer).cloned().collect())
}

/// The same text under the signatures of `signers`; `None` if it stands under exactly these.
fn again(recorded: &[u8], signers: &[&dyn Signer]) -> Result<Option<Bytes>, Failure> {
    let parsed = Note::parse(recorded)
        .map_err(|why| Failure::Contradiction(format!("the recorded checkpoint cannot be read: {why}")))?;
    // A checkpoint that `glasslog recover` took over has cosignatures too: witnesses are shown our own signatures alone.
    let signed =
        |signer: &&dyn Signer| parsed.signatures().iter().any(|line| line.is_of(signer.verifier_key()));
    if parsed.signatures().len() == signers.len() && signers.iter().all(signed) {
        return Ok(None);
    }
    Ok(Some(Bytes::from(note::sign(parsed.text(), signers).map_err(Failure::Sign)?)))
}

/// An Ed25519 signature on a note; a cosignature has a time before it.
const CHECKPOINT_SIGNATURE_BYTES: usize = 64;
