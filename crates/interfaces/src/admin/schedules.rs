//! When an instance is synced by itself.

use std::time::Duration;

use application::Services;
use application::schedules::ScheduleChange;
use axum::extract::State;
use chrono::{DateTime, NaiveTime, Utc};
use domain::{InstanceId, Invalid, Schedule};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::openapi::{BodyFailures, ItemFailures};
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Problem;

/// When an instance is synced by itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(super) struct ScheduleBody {
    /// Whether nothing is started by itself.
    paused: bool,
    /// Seconds from one sync's start to the next one's.
    interval_s: u64,
    /// The time of day, UTC, at which everything is compared with the tracker, as 03:30; null for never.
    reconcile_at: Option<String>,
    /// Each start is put off by a random time of up to this part of the interval, in percent.
    jitter_percent: u8,
    /// When the next sync starts.
    next_sync_at: Option<DateTime<Utc>>,
    /// When the next comparison starts.
    next_reconcile_at: Option<DateTime<Utc>>,
}

impl From<Schedule> for ScheduleBody {
    fn from(schedule: Schedule) -> Self {
        Self {
            paused: schedule.paused,
            interval_s: schedule.interval.as_secs(),
            reconcile_at: schedule.reconcile_at.map(|at| at.format("%H:%M").to_string()),
            jitter_percent: schedule.jitter_percent,
            next_sync_at: schedule.next_sync_at.filter(|_| !schedule.paused),
            next_reconcile_at: schedule.next_reconcile_at.filter(|_| !schedule.paused),
        }
    }
}

/// When an instance is to be synced by itself.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScheduleChange)]
pub(super) struct ChangeBody {
    /// Start nothing by itself.
    #[serde(default)]
    paused: bool,
    /// Seconds from one sync's start to the next one's: 60 to 86400.
    #[validate(range(min = 60, max = 86_400, message = "must be between 60 and 86400 seconds"))]
    #[schema(minimum = 60, maximum = 86_400)]
    interval_s: u64,
    /// The time of day, UTC, at which everything is compared with the tracker, as 03:30; null for never.
    #[validate(length(max = 8, message = "must be a time of day such as 03:30"))]
    #[schema(example = "03:30", max_length = 8)]
    reconcile_at: Option<String>,
    /// Each start is put off by a random time of up to this part of the interval, in percent: 0 to 50.
    #[serde(default = "usual_jitter")]
    #[validate(range(max = 50, message = "must be at most 50"))]
    #[schema(maximum = 50, default = 10)]
    jitter_percent: u8,
}

const fn usual_jitter() -> u8 {
    10
}

impl TryFrom<ChangeBody> for ScheduleChange {
    type Error = Invalid;

    fn try_from(body: ChangeBody) -> Result<Self, Invalid> {
        let time = |text: String| {
            NaiveTime::parse_from_str(&text, "%H:%M")
                .map_err(|_| Invalid::one("/reconcile_at", "must be a time of day such as 03:30"))
        };
        Ok(Self {
            paused: body.paused,
            interval: Duration::from_secs(body.interval_s),
            reconcile_at: body.reconcile_at.map(time).transpose()?,
            jitter_percent: body.jitter_percent,
        })
    }
}

/// Says when an instance is synced by itself: as its source usually is, until somebody changes it.
#[utoipa::path(
    get, path = "/instances/{id}/schedule", operation_id = "get_schedule", tag = "instances", params(("id" = Uuid, Path)),
    responses((status = 200, body = ScheduleBody), ItemFailures)
)]
pub(super) async fn get(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<ScheduleBody>, Problem> {
    Ok(Json(services.schedules.get(&ctx, id).await?.into()))
}

/// Replaces an instance's schedule. The next runs are counted from now.
#[utoipa::path(
    put, path = "/instances/{id}/schedule", operation_id = "replace_schedule", tag = "instances", params(("id" = Uuid, Path)), request_body = ChangeBody,
    responses((status = 200, body = ScheduleBody), ItemFailures, BodyFailures)
)]
pub(super) async fn replace(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Path(id): Path<InstanceId>,
    Json(body): Json<ChangeBody>,
) -> Result<Json<ScheduleBody>, Problem> {
    Ok(Json(services.schedules.replace(&ctx, id, &body.try_into()?).await?.into()))
}
