use super::{Language, Page};

impl Page<'_> {
    /// Title and text.
    pub(super) fn words(&self, language: Language) -> (&'static str, String) {
        let (english, portuguese): ((&str, String), (&str, String)) = match self {
            Self::Start { server, at, .. } => (
                (
                    "Connect your account",
                    format!("You are about to let this gateway use the server “{server}” in your name. You log in first, so that nobody but you can do this, and then allow the access at {at}. Go on only if you have asked for it yourself just now."),
                ),
                (
                    "Conectar sua conta",
                    format!("Você está prestes a permitir que este gateway use o servidor “{server}” em seu nome. Primeiro você entra com a sua conta, para que ninguém além de você possa fazer isso, e depois autoriza o acesso em {at}. Continue somente se foi você quem pediu isso agora."),
                ),
            ),
            Self::Leave { .. } => (
                ("One moment", "You are being sent on.".to_owned()),
                ("Um momento", "Você está sendo encaminhado.".to_owned()),
            ),
            Self::Done { server } => (
                (
                    "Connected",
                    format!("“{server}” is connected. You can close this window and go back to where you came from."),
                ),
                (
                    "Conectado",
                    format!("“{server}” está conectado. Você pode fechar esta janela e voltar para onde estava."),
                ),
            ),
            Self::NoLink => (
                (
                    "This link is not valid",
                    "It has expired, or is incomplete. Nothing was connected. Call the tool again to get a new one.".to_owned(),
                ),
                (
                    "Este link não é válido",
                    "Ele expirou ou está incompleto. Nada foi conectado. Chame a ferramenta de novo para receber outro.".to_owned(),
                ),
            ),
            Self::Used => (
                (
                    "This link has been used",
                    "A link is good once, and somebody has gone on from this one before. Nothing more was connected. Call the tool again to get a new one if the server is still not connected.".to_owned(),
                ),
                (
                    "Este link já foi usado",
                    "Um link vale uma só vez, e alguém já continuou a partir deste. Nada mais foi conectado. Se o servidor ainda não estiver conectado, chame a ferramenta de novo para receber outro.".to_owned(),
                ),
            ),
            Self::OtherBrowser => (
                (
                    "Not the browser that began",
                    "This step has to be done in the browser in which the link was opened, and that has to accept cookies. Nothing was connected. Call the tool again to get a new link.".to_owned(),
                ),
                (
                    "Não é o navegador que começou",
                    "Este passo precisa ser feito no navegador em que o link foi aberto, e ele precisa aceitar cookies. Nada foi conectado. Chame a ferramenta de novo para receber outro link.".to_owned(),
                ),
            ),
            Self::OtherPerson => (
                (
                    "This link is somebody else's",
                    "You have logged in as another person than the one who has asked for this link. Nothing was connected. If you got it from somebody else, they may have tried to gain access to your account: tell whoever runs this gateway. If you are sure that you have logged in as yourself, the service where you log in may call you by another name towards each application (pairwise subjects): then an administrator has to change it.".to_owned(),
                ),
                (
                    "Este link é de outra pessoa",
                    "Você entrou como outra pessoa, e não como quem pediu este link. Nada foi conectado. Se você o recebeu de alguém, essa pessoa pode ter tentado obter acesso à sua conta: avise quem opera este gateway. Se você tem certeza de que entrou com a sua própria conta, o serviço onde você entra pode usar outro nome seu para cada aplicação (subjects pairwise): nesse caso um administrador precisa mudar isso.".to_owned(),
                ),
            ),
            Self::OtherName => (
                (
                    "It is not known who you are",
                    "Where you have logged in, people have another name for every application (pairwise subjects), so this gateway can't tell whether you are the one who has asked for this link. Nothing was connected, and trying again does not help: an administrator has to change it. If you got the link from somebody else, tell whoever runs this gateway.".to_owned(),
                ),
                (
                    "Não se sabe quem você é",
                    "Onde você entrou, cada pessoa tem outro nome em cada aplicação (subjects pairwise), por isso este gateway não consegue saber se foi você quem pediu este link. Nada foi conectado, e tentar de novo não ajuda: um administrador precisa mudar isso. Se você recebeu o link de alguém, avise quem opera este gateway.".to_owned(),
                ),
            ),
            Self::Denied { server } => (
                (
                    "Not connected",
                    format!("You have not allowed the access, so “{server}” is not connected. Call the tool again if you want to try once more."),
                ),
                (
                    "Não conectado",
                    format!("Você não autorizou o acesso, por isso “{server}” não está conectado. Chame a ferramenta de novo se quiser tentar outra vez."),
                ),
            ),
            Self::Unexpected => (
                (
                    "That answer was not expected",
                    "What came back is not the answer to what was asked, so it was thrown away. Nothing was connected. Call the tool again to get a new link.".to_owned(),
                ),
                (
                    "Essa resposta não era esperada",
                    "O que voltou não é a resposta ao que foi pedido, por isso foi descartado. Nada foi conectado. Chame a ferramenta de novo para receber outro link.".to_owned(),
                ),
            ),
            Self::Failed => (
                (
                    "That did not work",
                    "The service that should have let you in did not answer as it should. Nothing was connected. Try again later; whoever runs this gateway finds the reason in its log.".to_owned(),
                ),
                (
                    "Não funcionou",
                    "O serviço que deveria autorizar o acesso não respondeu como deveria. Nada foi conectado. Tente mais tarde; quem opera este gateway encontra o motivo no log.".to_owned(),
                ),
            ),
            Self::Busy => (
                (
                    "Too many at once",
                    "Too many people are connecting at the moment. Nothing was connected. Try again in a few minutes.".to_owned(),
                ),
                (
                    "Gente demais ao mesmo tempo",
                    "Há pessoas demais conectando neste momento. Nada foi conectado. Tente de novo em alguns minutos.".to_owned(),
                ),
            ),
        };
        language.choose(english, portuguese)
    }
}
