use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use mcp_ultra_domain::{
    Principal,
    cache::{Kind, Tag, bucket},
};

use super::{Keys, Tags};

/// What a request asks for, as far as answers that are kept are concerned.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub keys: Keys,
    pub principal: Principal,
    pub server: Arc<str>,
    pub kind: Kind,
    /// The server's own URI, where a resource is read.
    pub resource: Option<ByteString>,
    /// Of the server as it is configured: gateways that have it otherwise keep nothing for each other.
    pub fingerprint: [u8; 32],
    /// Of the headers that it is asked with: the same holds for these.
    pub headers: [u8; 32],
    /// Made when they are first needed: mostly nothing has changed.
    pub tags: OnceLock<Tags>,
}

impl Asked {
    pub(crate) fn tenant(&self) -> &Arc<str> {
        self.principal.tenant()
    }

    /// The tags of answers to it, in one order.
    pub(super) fn tags(&self) -> &Tags {
        self.tags.get_or_init(|| {
            let tenant = bucket(self.tenant());
            let resource = self.resource.as_deref().map(bucket);
            [
                Some(Tag::Kind(self.kind)),
                resource.map(Tag::Resource),
                Some(Tag::Tenant(tenant)),
                Some(Tag::Subject(bucket(self.principal.id()))),
                Some(Tag::Common(tenant)),
            ]
        })
    }

    /// Those that an answer has which is the same for everyone, or its caller's alone.
    pub(super) fn tags_of(&self, is_common: bool) -> Tags {
        self.tags()
            .map(|tag| tag.filter(|tag| is_of(*tag, is_common)))
    }
}

/// Whether an answer has a tag of that kind: what is everyone's is nobody's.
fn is_of(tag: Tag, is_common: bool) -> bool {
    match tag {
        Tag::Subject(_) => !is_common,
        Tag::Common(_) => is_common,
        Tag::Kind(_) | Tag::Resource(_) | Tag::Tenant(_) => true,
    }
}

/// Of things that stand in the order of `tags`, those whose tags such an answer has.
pub(super) fn of_those<T: Clone>(tags: &Tags, things: &[T], is_common: bool) -> Vec<T> {
    let all = tags.iter().flatten().zip(things);
    let those = all.filter(|(tag, _)| is_of(**tag, is_common));
    those.map(|(_, thing)| thing.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_everyones_is_nobodys() {
        let tags = [
            Some(Tag::Kind(Kind::Tool)),
            None,
            Some(Tag::Tenant(1)),
            Some(Tag::Subject(2)),
            Some(Tag::Common(1)),
        ];
        let names = ["kind", "tenant", "subject", "common"];
        assert_eq!(
            of_those(&tags, &names, false),
            ["kind", "tenant", "subject"]
        );
        assert_eq!(of_those(&tags, &names, true), ["kind", "tenant", "common"]);
    }
}
