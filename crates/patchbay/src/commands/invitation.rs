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
        let (email, until) = (&created.invitation.email, when(created.invitation.expires_at));
        eprintln!(
            "This is the only time the invitation is shown. It is for {email} as {}, until {until}.",
            created.invitation.role
        );
        // Standard output may be piped to where the invitation is sent, so what to do with it is told beside.
        match link {
            Some(_) => eprintln!(
                "Send {email} the link: opening it leads to the sign-in, which accepts the invitation."
            ),
            None => eprintln!(
                "Send {email} the token as a link to your installation, to be opened with a browser:\n  \
                 <public URL>/auth/login?invitation=<the token>\n\
                 With PATCHBAY_PUBLIC_URL (or --public-url) set, this command prints the whole link. Signing in must be \
                 configured: docs/signing-in.md."
            ),
        }
    }
    operator.close().await
}
