//! Why a session with a camera ended.

use super::rtsp::Failure;
use crate::fault::Fault;

/// Why a session ended.
pub(super) enum End {
    /// Something broke.
    Fault(Fault),
    /// UDP brings no packets, or too few of them.
    UdpFailed(Fault),
    /// The camera does not send the way that it was asked to.
    TransportRefused(Fault),
    /// The camera hung up on the login, so many times.
    LoginHungUp(Fault, u32),
    /// The picture was well, its sound had stopped.
    SoundStopped(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TransportRefused(fault) => Self::TransportRefused(fault),
            Failure::LoginHungUp(fault, times) => Self::LoginHungUp(fault, times),
            Failure::Other(fault) => Self::Fault(fault),
        }
    }
}

impl End {
    /// What broke.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault)
            | Self::UdpFailed(fault)
            | Self::TransportRefused(fault)
            | Self::LoginHungUp(fault, _)
            | Self::SoundStopped(fault) => fault,
        }
    }
}
