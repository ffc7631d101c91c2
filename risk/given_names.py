"""Given names that greetings and addresses are read by, and which of them are one name. Data; it decides nothing."""

# Names that stand for one another: short forms, and the same name in other languages.
KIN = tuple(
    frozenset(group.split())
    for group in (
        "robert rob bob bobby robbie bert roberto",
        "william will bill billy willy liam wilhelm guillaume guillermo guglielmo",
        "richard rick dick richie ricardo riccardo",
        "james jim jimmy jamie",
        "john jack johnny jon johannes johann hans jan jean juan giovanni joao ivan ian sean",
        "margaret maggie meg peggy greta margarethe margarita marguerite margherita",
        "elizabeth liz beth betty lisa eliza elisabeth elise isabel isabella lizzy",
        "catherine katherine kate kathy katie cathy katharina katarina caterina catalina karen karin",
        "thomas tom tommy tomas tommaso",
        "michael mike mick mikhail michel miguel michele mikael michal",
        "joseph joe josef jose giuseppe beppe pepe",
        "edward ed eddie ted teddy eduard eduardo edoardo",
        "alexander alex sasha sascha xander alessandro alejandro alexandre aleksandr alexandra sandra",
        "anthony tony antonio anton antoine",
        "charles charlie chuck karl carl carlos carlo chas",
        "christopher chris kit christoph cristobal christophe",
        "christine christina chris kirsten cristina tina",
        "andrew andy drew andreas andre andrea andrei andrzej andres",
        "peter pete pedro pierre piotr pietro petr",
        "paul paulo paolo pablo pavel",
        "stephen steven steve stefan stephan etienne esteban stefano stephane",
        "matthew matt matthias mathias matteo mateo matthieu",
        "nicholas nick nicolas nikolas niccolo klaus nikolai claus",
        "daniel dan danny daniele",
        "david dave davide",
        "henry harry hal hank heinrich heinz henri enrico enrique",
        "george jorge giorgio georg jurgen juergen georges yuri",
        "frederick fred freddy friedrich fritz federico frederic",
        "louis lewis luis luigi ludwig lou",
        "lawrence larry laurence lorenzo laurent lars",
        "susan sue suzanne susanne susanna suzy",
        "deborah debbie deb debra",
        "patricia pat patty trish tricia",
        "patrick pat paddy patricio",
        "jennifer jen jenny",
        "jessica jess jessie",
        "rebecca becky becca",
        "samuel sam sammy",
        "samantha sam sammy",
        "benjamin ben benny",
        "gregory greg",
        "timothy tim timo",
        "francis frank francisco francesco francois franz paco",
        "mary maria marie mia molly polly",
        "helen helena elena helene ellen nell",
        "eve eva",
        "martha marta",
        "julia julie giulia",
        "dmitri dmitry dima dimitri",
        "sergei sergey serge sergio",
        "eugene gene evgeny eugen",
        "zachary zach zack",
        "theodore ted theo teddy",
        "victoria vicky tori",
        "vincent vince vincenzo vicente",
        "walter walt wally",
        "abigail abby gail",
        "dorothy dot dottie dora",
        "jacob jake jakob giacomo jacques iago",
        "joshua josh",
        "nathaniel nathan nate",
        "natalie natalia natasha",
        "olivia liv olive",
        "philip phil philipp philippe felipe filippo",
        "raymond ray ramon raimund",
        "ronald ron ronny",
        "donald don donny",
        "kenneth ken kenny",
        "leonard leo len lenny leonardo",
        "gerald gerry jerry gerard gerhard",
        "terence terry",
        "ulrich uli ulrike",
        "barbara babs barbel",
        "johanna joanna joan jane janet jeanne juana giovanna hanna hannah jo",
    )
)  # fmt: skip

GIVEN_NAMES = frozenset().union(
    *KIN,
    (
        "aaron ada adam adele adrian adriana agnes aisha alan albert alberto alice alicia alina alison allison "
        "amanda amber amelia amina amir amy ana anastasia angel angela angelo anika anita anja ann anna anne "
        "annette annika antje anwar april arjun arne arnold arthur ashley astrid aurora austin axel barry "
        "beatrice bella benedikt bernard bernd bertha bianca bjorn blanca bob boris brandon brenda brian bridget "
        "bruce bruno bryan camila camille carina carla carmen carol carolina caroline carsten cecilia celia "
        "celine chantal charlotte chiara chloe cindy claire clara clarissa claude claudia claudio clemens colin "
        "conrad cornelia craig curtis cynthia daisy dana daniela danielle daria darren dean denise dennis derek "
        "diana diego dieter dirk dominic dominik donna doris douglas duncan dylan edgar edith elaine elias elif "
        "ella elliot elsa emil emilia emily emma eric erica erik erika ernst esther ethan eun evan eveline evelyn "
        "fabian fabio farah fatima fatma felix ferdinand fernando fiona flora florence florian frances franziska "
        "frida frieda gabriel gabriela gabriele gareth gary gavin geoffrey georgia gianni gina giovanna gisela "
        "gloria gordon grace graham grant gudrun gunnar gunter gustav hamid hannes harald harold hassan hazel "
        "heather heidi heike helga helmut henrik herbert hilda holger holly horst howard hugh hugo ibrahim ida "
        "igor ilse ines inga inge ingrid irene irina iris isaac ivana jana janina jasmin jasmine jason jeff "
        "jeffrey jens jeremy jessie jill joachim jochen joel joerg jonas jonathan jordan jorg josephine josie "
        "joyce juanita judith judy julian julien juliette jun june justin justine kai kamal karim karla karolina "
        "katja katrin kay keith kelly kerstin kevin kim kirsty klara konrad kristin kristina kurt kyle laila lana "
        "lara larissa laura lauren layla lea leah leila lena leon leonie leslie lili lily linda lindsay lisbeth "
        "logan lola lorena lotte louise luca lucas lucia lucy luisa lukas luke luna lydia lynn mabel madeleine "
        "madison magdalena maike malcolm malik malte manfred manuel manuela marc marcel marcello marco marcus "
        "margot mariam mariana marianne marina mario marion marisa mark markus marlene martin martina marvin "
        "matilda maureen maurice max maximilian maya megan mehmet melanie melissa mercedes merle mia mila milan "
        "milena miles milo mina miriam mohamed mohammed mona monica monika moritz muhammad murat mustafa nadia "
        "nadine nancy naomi neil nicole nigel nils nina noah noel nora norbert norman nuria olaf oleg olga oliver "
        "omar oscar oskar otto owen pamela paola pascal patrizia paula paulina pauline penelope penny petra "
        "phoebe pia pilar priya rachel rafael raj ralf ralph ramona raphael raquel rashid raul regina reinhard "
        "renate rene rhonda rita robin rocio rodrigo roger roland rolf romain roman rosa rosalie rosario rose "
        "rosemary ross roxanne roy ruben rudolf russell ruth ryan sabine sabrina sally salma salvatore sandro "
        "sanjay santiago sara sarah scott sebastian selena selma sergio seth shane shannon sharon sheila shirley "
        "sibylle sigrid silke silvia simon simona simone sofia sonia sonja sophia sophie spencer stacy stan "
        "stanley stella stephanie stuart sven svenja svetlana sylvia sylvie tamara tanja tanya tara tatiana "
        "teresa tessa theresa thorsten tiffany tilda tina tobias todd torsten tracy travis trevor tristan udo "
        "ursula uta uwe valentin valentina valerie vanessa vera verena veronica veronika victor viktor viola "
        "virginia vivian vladimir volker wade wanda wayne wendy werner wilma winston wolfgang xavier yasmin "
        "yolanda yusuf yvonne zoe zora"
    ).split(),
)  # fmt: skip

# Cyrillic names as they are written in addresses.
CYRILLIC = dict(
    pair.split(":")
    for pair in (
        "анна:anna мария:maria елена:elena ольга:olga наталья:natalia татьяна:tatiana ирина:irina светлана:svetlana "
        "екатерина:katharina юлия:julia марина:marina оксана:oksana александр:alexander алексей:alexei андрей:andrei "
        "борис:boris владимир:vladimir виктор:victor дмитрий:dmitri евгений:evgeny иван:ivan игорь:igor максим:maxim "
        "михаил:mikhail николай:nikolai олег:oleg павел:pavel петр:petr роман:roman сергей:sergei юрий:yuri"
    ).split()
)

# Words that greet nobody by name.
NOT_NAMES = frozenset(
    "all team teams everyone everybody folks guys there friend friends colleague colleagues customer customers client "
    "clients partner partners user users member members reader readers subscriber guest guests sir madam sirs valued "
    "hiring manager support sales service both ladies gentlemen applicant candidate student students parent parents "
    "neighbour neighbours neighbor neighbors again world "
    "damen herren kollegen kolleginnen kunde kundin kunden kundinnen zusammen leute freunde team mitglied mitglieder "
    "nutzer nutzerin interessent "
    "tous toutes client cliente clients equipe collegues amis madame monsieur "
    "todos todas equipo cliente clientes amigo amigos amiga colegas senores "
    "tutti tutte cliente clienti colleghi amici signori "
    "allen allemaal klant klanten collega collegas team iedereen "
    "alla alle teamet kund kunder panstwo wszyscy klient kliencie klienci equipa coleg colegi".split()
)

# Names of boxes that several people read.
ROLES = frozenset(
    "info sales office support contact billing hello hi team admin hr jobs career careers noreply reply no post mail "
    "email accounts account accounting finance invoice invoices orders order help helpdesk service services press "
    "media marketing legal security privacy abuse webmaster postmaster news newsletter shop store reception booking "
    "bookings reservations enquiries inquiries feedback partners people everyone all kontakt buchhaltung rechnung "
    "rechnungen bestellung bewerbung buero verwaltung service vertrieb contacto ventas facturas contabilidad compras "
    "contatto amministrazione fatture vendite ordini comptabilite facture factures commande commandes direction "
    "verkoop facturen administratie the my our group".split()
)
