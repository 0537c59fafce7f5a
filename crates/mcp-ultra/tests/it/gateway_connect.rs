//! People connect a server to their accounts there, through the running gateway: an issuer where
//! they log in, an authorization server where they grant access, a server that believes its tokens,
//! and a browser (`world`).

mod ahead;
mod clients;
mod issuers;
mod links;
mod lists;
mod several;
mod tokens;
mod world;

pub(crate) use self::world::{
    JWT_SECRET, KEY, RESOURCE, Rig, asked, bearer, call, connect, now, params, title, worked,
};
