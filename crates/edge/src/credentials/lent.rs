//! What one of the callers has granted, lent for what nobody has asked for. It is the same token as
//! for that one's own calls, so it is kept, renewed and ended as that is.

use std::borrow::Cow;

use mcp_ultra_domain::Principal;

use super::{Asking, CredentialError, Credentials, Grant, Subject};

impl Credentials {
    /// Whether what nobody has asked for is asked with what one of the callers has granted.
    pub fn are_lent(&self) -> bool {
        matches!(
            self.source.grant,
            Grant::AuthorizationCode {
                lenders: Some(_),
                ..
            }
        )
    }

    /// Whose grant is lent.
    pub fn lender(&self) -> Option<Principal> {
        self.lender.lock().clone()
    }

    /// Whose grant is to be lent, as things are now.
    ///
    /// # Errors
    /// [`CredentialError::NobodyGranted`] where there is no grant that can be, others where that
    /// can't be known.
    pub async fn next_lender(&self) -> Result<Principal, CredentialError> {
        match &self.source.grant {
            Grant::AuthorizationCode {
                granted,
                lenders: Some(lenders),
                ..
            } => {
                let asking = Asking {
                    source: &self.source,
                    held: None,
                };
                granted.lender(asking, lenders).await
            }
            _ => Err(CredentialError::NobodyGranted),
        }
    }

    /// The upstream does not show its lists to the one whose grant is lent: another one is chosen
    /// next, where there is one.
    pub fn lender_refused(&self) {
        if let Grant::AuthorizationCode { granted, .. } = &self.source.grant
            && let Some(lender) = self.lender()
        {
            granted.refused(lender.id());
        }
    }

    /// Lends the grant of `lender` from now on.
    pub fn lend(&self, lender: Option<Principal>) {
        *self.lender.lock() = lender;
    }

    /// Who speaks for `subject`, and whether that is somebody who lends it what they have granted.
    pub(super) fn spoken_for<'s>(
        &self,
        subject: &'s Subject,
    ) -> Result<(Cow<'s, Subject>, bool), CredentialError> {
        let subject = subject.current();
        if !self.are_lent() || !matches!(*subject, Subject::Gateway) {
            return Ok((subject, false));
        }
        let principal = self.lender().ok_or(CredentialError::NobodyGranted)?;
        let token = None;
        Ok((Cow::Owned(Subject::Caller { principal, token }), true))
    }
}
