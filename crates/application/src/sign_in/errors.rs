//! What a sign-in can end with but a session.

use crate::Error;
use crate::ports::{IdentityError, TokenError};

/// Why a person is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// No OpenID provider is configured.
    #[error("signing in is not configured")]
    NotConfigured,
    /// The sign-in is unknown, over, used already, or was begun in another browser.
    #[error("the sign-in is over, was used already, or was begun in another browser")]
    Expired,
    /// The provider refused, or its answer does not hold.
    #[error("the sign-in was refused: {0}")]
    Refused(String),
    /// The provider or the authorization server's keys cannot be reached; worth another try.
    #[error("the identity provider cannot be asked: {0}")]
    Unavailable(String),
    /// The invitation cannot be accepted by this person.
    #[error("the invitation was not accepted: {0}")]
    Invitation(&'static str),
    /// The person is known and belongs to no tenant.
    #[error("the person is a member of no tenant")]
    NoMembership,
    /// The person belongs to several tenants and named none, or one that is not theirs.
    #[error("the tenant must be chosen")]
    ChooseTenant {
        /// The short names of the person's tenants.
        tenants: Vec<String>,
    },
    /// What the token grants and what the role allows have nothing in common.
    #[error("the token grants nothing that the role allows")]
    NoScope,
}

impl From<SignInError> for Error {
    fn from(error: SignInError) -> Self {
        Self::SignIn(error)
    }
}

impl From<IdentityError> for SignInError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Unavailable(why) => Self::Unavailable(why),
            IdentityError::Refused(why) => Self::Refused(why),
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(why) => Self::Unauthenticated(why),
            TokenError::Unavailable(why) => SignInError::Unavailable(why).into(),
        }
    }
}
