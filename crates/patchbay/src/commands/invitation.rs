//! `patchbay invitation`

use std::process::ExitCode;

use secrecy::ExposeSecret;
use serde_json::json;

use super::key::when;
use super::operator::Operator;
use super::tenant::explain;
use crate::cli::{InvitationArgs, InvitationCommand};

pub(crate) async fn run(args: InvitationArgs) -> anyhow::Result<ExitCode> {
    let InvitationCommand::Create(args) = args.command;
    let operator = Operator::open(&args.database, &args.tenant, args.public_url.clone()).await?;
    let members = &operator.identities.members;
    let created = members
        .invite(&operator.ctx, &args.email, args.role, Some(args.expires_in))
        .await
        .map_err(explain)?;
    let (token, link) =
        (created.token.expose_secret(), created.link.as_ref().map(ExposeSecret::expose_secret));
    if args.json {
        let expires_at = created.invitation.expires_at;
        println!(
            "{}",
            json!({"id": created.invitation.id, "token": token, "link": link, "expires_at": expires_at})
        );
    } else {
        println!("{}", link.unwrap_or(token));
        eprintln!(
            "This is the only time the invitation is shown. It is for {} as {}, until {}.",
            created.invitation.email,
            created.invitation.role,
            when(created.invitation.expires_at)
        );
    }
    operator.close().await
}
