//! Why a run of a stage ended early, and whether another may fare better.

use super::RestartCause;
use crate::log::LogError;
use crate::stage::StageError;

/// Why a run ended early.
pub(super) enum Failure {
    /// Another run may fare better.
    Passing(StageError, RestartCause),
    /// Someone else runs the stage: another run would only take it from them.
    Displaced(StageError),
    /// None will.
    Permanent(StageError),
}

impl Failure {
    pub(super) fn of_log(doing: String, error: LogError) -> Self {
        match error {
            expired @ LogError::Expired { .. } => {
                let why = "records were deleted before this stage was done with them, lengthen the topic's retention";
                Self::Permanent(StageError::failed(format!("{doing}: {why}"), expired))
            }
            anew @ (LogError::Beyond { .. } | LogError::MadeAnew { .. }) => {
                Self::Permanent(StageError::failed(doing, anew))
            }
            displaced @ LogError::Displaced { .. } => Self::Displaced(StageError::failed(doing, displaced)),
            passing => Self::Passing(StageError::failed(doing, passing), RestartCause::Log),
        }
    }

    pub(super) fn cause(&self) -> RestartCause {
        match self {
            Self::Passing(_, cause) => *cause,
            Self::Displaced(_) => RestartCause::Displaced,
            Self::Permanent(_) => RestartCause::Log,
        }
    }

    pub(super) fn into_error(self) -> StageError {
        let (Self::Passing(error, _) | Self::Displaced(error) | Self::Permanent(error)) = self;
        error
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::Passing(error, RestartCause::Stage)
    }
}
