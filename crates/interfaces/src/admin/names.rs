//! Names with few values, for the description; taken from the domain, so that they cannot drift apart.

use domain::authored::TemplateState;
use domain::template::ColumnType;
use domain::{
    AuditOutcome, FieldRole, InstanceStatus, KeyKind, PriorityNorm, Role, RunKind, RunState, Scope,
    StatusNorm, Toolset, TypeNorm,
};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! names {
    ($name:ident, $values:expr) => {
        pub(super) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some($values)).into()
            }
        }

        impl ToSchema for $name {}
    };
}

names!(StatusName, StatusNorm::ALL.iter().map(|value| value.as_str()));
names!(TypeName, TypeNorm::ALL.iter().map(|value| value.as_str()));
names!(PriorityName, PriorityNorm::ALL.iter().map(|value| value.as_str()));
names!(FieldRoleName, FieldRole::ALL.map(FieldRole::as_str));
names!(TemplateStateName, TemplateState::ALL.map(TemplateState::as_str));
names!(TemplateOriginName, ["shipped", "tenant"]);
names!(ColumnTypeName, ColumnType::ALL.map(ColumnType::as_str));
names!(AuditOutcomeName, AuditOutcome::ALL.map(AuditOutcome::as_str));
names!(ScopeName, Scope::ALL.map(Scope::as_str));
names!(RoleName, Role::ALL.map(Role::as_str));
names!(KeyKindName, KeyKind::ALL.map(KeyKind::as_str));
names!(ToolsetName, Toolset::ALL.map(Toolset::as_str));
names!(RunStateName, RunState::ALL.map(RunState::as_str));
names!(
    RunKindName,
    [RunKind::Backfill, RunKind::Incremental, RunKind::Reconcile, RunKind::Remap].map(RunKind::as_str)
);
names!(
    InstanceStatusName,
    [InstanceStatus::Active, InstanceStatus::Paused, InstanceStatus::ReconnectRequired]
        .map(InstanceStatus::as_str)
);
