//! Identifiers. Each is its own type, so that a run id cannot be passed where an instance id is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is known to name such a thing.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID, for storage.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// A company whose data is kept apart from every other's.
    TenantId
);
id!(
    /// An API key.
    KeyId
);
id!(
    /// A person who signs in; may be a member of several tenants.
    UserId
);
id!(
    /// An invitation of a person to a tenant.
    InvitationId
);
id!(
    /// A signed-in browser.
    SessionId
);
id!(
    /// A tenant's connection to one source.
    InstanceId
);
id!(
    /// One backfill or sync of an instance.
    RunId
);
id!(
    /// A project, repository or workspace of an instance.
    ProjectId
);
id!(
    /// A normalized issue, task, card or pull request.
    WorkItemId
);
id!(
    /// One request from outside, or one job; stands in logs and problem bodies.
    RequestId
);
