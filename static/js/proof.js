"use strict";
// Inlined into a file of its own (audit/trail/proof_page.py): checks the proof in it, and shows what it has checked.
// Every text is put on the page as text; there is no network, and no markup from data.
(async () => {
  const HASH_OF_THE_WORDS = "HASH_OF_WORDS";
  const HASH_OF_THE_STYLE = "HASH_OF_STYLE";
  const CONTEXT = "countersign seal v1\n";
  const encoder = new TextEncoder();
  const findings = [];

  const make = (name, text = "", kind = "") => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text) made.append(...drawn(String(text)));
    return made;
  };
  // Characters that hide, or turn the direction of what follows, are named instead.
  const drawn = (text) =>
    text.split(/([\p{Cf}\p{Zl}\p{Zp}\p{Co}]|(?!\n)\p{Cc})/u).filter(Boolean).map((piece) => {
      if (!/^(?:[\p{Cf}\p{Zl}\p{Zp}\p{Co}]|(?!\n)\p{Cc})$/u.test(piece)) return document.createTextNode(piece);
      const mark = document.createElement("span");
      mark.className = "odd";
      mark.textContent = "U+" + piece.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      return mark;
    });
  const bdi = (text) => {
    const made = make("bdi");
    made.append(...drawn(String(text)));
    return made;
  };

  const joined = (...parts) => {
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let place = 0;
    for (const part of parts) {
      all.set(part, place);
      place += part.length;
    }
    return all;
  };
  const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const unhex = (text) => {
    if (typeof text !== "string" || !/^(?:[0-9a-f]{2})*$/.test(text)) throw new Error("a hash is none");
    return Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
  };
  const ZERO = new Uint8Array([0]);
  const ONE = new Uint8Array([1]);

  // Keys in order, texts and whole numbers as they are: RFC 8785 for all that a seal holds.
  const canonical = (fields) =>
    "{" + Object.keys(fields).sort().map((name) => {
      const value = fields[name];
      if (typeof value !== "string" && !Number.isSafeInteger(value)) {
        throw new Error("the seal holds what no seal holds");
      }
      return JSON.stringify(name) + ":" + JSON.stringify(value);
    }).join(",") + "}";

  const shortFingerprint = (digest) => {
    const bits = Array.from(digest.slice(0, 8), (byte) => byte.toString(2).padStart(8, "0")).join("");
    const letters = Array.from(
      { length: 12 },
      (_, place) => "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[parseInt(bits.slice(place * 5, place * 5 + 5), 2)],
    );
    return [0, 4, 8].map((start) => letters.slice(start, start + 4).join("")).join("-");
  };

  const heightOf = (leaves) => {
    let height = 0, size = 1;
    while (size < leaves) {
      size *= 2;
      height += 1;
    }
    return height;
  };
  // The root of RFC 9162 over `size` leaves, from some of them and the nodes beside them.
  const rootFrom = async (leaves, nodes, size) => {
    const positions = [...leaves.keys()];
    const used = new Set();
    const over = async (start, end, wanted) => {
      const height = heightOf(end - start);
      if (!wanted.length) {
        const name = height + "/" + Math.floor(start / 2 ** height);
        if (!nodes.has(name)) throw new Error("a hash is missing");
        used.add(name);
        return nodes.get(name);
      }
      if (end - start === 1) return leaves.get(start);
      const middle = start + 2 ** (height - 1);
      const left = await over(start, middle, wanted.filter((position) => position < middle));
      const right = await over(middle, end, wanted.filter((position) => position >= middle));
      return sha256(joined(ONE, left, right));
    };
    const root = await over(0, size, positions);
    if (used.size !== nodes.size) throw new Error("there are more hashes than lead to it");
    return root;
  };

  const checkDetails = async (entry, one) => {
    if (one.fields === null || one.salt === null) return [];
    const salt = unhex(one.salt), wrong = [];
    for (const [name, value] of Object.entries(one.fields)) {
      const found = hex(await sha256(joined(salt, ZERO, encoder.encode(name), ZERO, encoder.encode(value))));
      if (!Object.hasOwn(entry.detail_hashes, name)) wrong.push("“" + name + "” was added later.");
      else if (entry.detail_hashes[name] !== found) {
        wrong.push("“" + name + "” is not what it was: somebody edited it.");
      }
    }
    for (const name of Object.keys(entry.detail_hashes)) {
      if (!Object.hasOwn(one.fields, name)) wrong.push("“" + name + "” was taken out.");
    }
    return wrong;
  };

  const checkSeal = async (seal) => {
    const { signature, ...fields } = seal;
    const signed = encoder.encode(CONTEXT + canonical(fields));
    try {
      const key = await crypto.subtle.importKey("raw", unhex(seal.key), { name: "Ed25519" }, false, ["verify"]);
      return await crypto.subtle.verify({ name: "Ed25519" }, key, unhex(signature), signed) ? "signed" : "wrong";
    } catch (error) {
      // A browser without Ed25519 must never look as if it had checked.
      return error.name === "NotSupportedError" || error.name === "SyntaxError" ? "not checked" : "wrong";
    }
  };

  const readEntries = async (proof) => {
    const leaves = new Map(), read = [];
    let last = -1;
    for (const one of proof.entries) {
      if (!Number.isSafeInteger(one.position) || one.position <= last || one.position >= proof.seal.size) {
        throw new Error("an entry has no place");
      }
      last = one.position;
      leaves.set(one.position, await sha256(joined(ZERO, encoder.encode(one.entry))));
      const entry = JSON.parse(one.entry);
      const wrong = await checkDetails(entry, one);
      if (entry.message !== proof.message) wrong.push("It tells of another message.");
      findings.push(...wrong.map((sentence) => "Entry " + entry.id + ": " + sentence));
      read.push({ entry, fields: one.fields, wrong });
    }
    if (!read.length) throw new Error("there is no entry in it");
    return { leaves, read };
  };

  const inUtc = (at) => String(at).slice(0, 19).replace("T", " ") + " UTC";

  const showEntries = (read, words, seal, leadsToRoot) => {
    const list = make("ol");
    for (const { entry, fields, wrong } of read) {
      const item = make("li"), line = make("p"), known = fields || {};
      const actor = make("strong");
      actor.append(bdi(known.actor || entry.actor_kind + " " + entry.actor_id));
      line.append(
        make("span", inUtc(entry.at) + "  ", "quiet small"),
        actor,
        " ",
        bdi(words.actions[entry.action] || entry.action),
        ".",
      );
      item.append(line);
      const facts = make("dl");
      const rows = [["through", entry.surface], ...Object.entries(known).filter(([name]) => name !== "actor")];
      if (entry.fingerprint) rows.push(["fingerprint of the version", entry.fingerprint]);
      for (const [name, value] of rows) {
        const shown = make("dd");
        shown.append(bdi(value));
        facts.append(make("dt", name.replace(/^trigger\./, "claimed: ").replaceAll("_", " ")), shown);
      }
      item.append(facts);
      if (fields === null && Object.keys(entry.detail_hashes).length) {
        item.append(make("p", "Its personal details were removed, or left out of this file.", "quiet small"));
      }
      const isGood = leadsToRoot && !wrong.length;
      const says = wrong.length
        ? "NOT as it was. " + wrong.join(" ")
        : isGood
        ? "As it was when seal " + seal.number + " covered it."
        : "Not proved: the hashes do not lead to the seal.";
      item.append(make("span", "Entry " + entry.id + ". " + says, "mark " + (isGood ? "good" : "bad")));
      list.append(item);
    }
    return list;
  };

  const showAnswers = (told, words) => {
    for (const answer of words.answers) {
      told.append(make("h3", answer.question));
      for (const one of answer.sentences) {
        const line = make("p");
        line.append(bdi(one.text));
        if (one.standing) {
          line.append(" ", make("span", one.standing === "says" ? "claimed; not verified" : one.standing, "tag"));
        }
        told.append(line);
      }
    }
  };

  // What the file shows is made here anew, so that nothing stays of what somebody wrote into the page.
  const textOf = (id) => document.getElementById(id)?.textContent ?? "";
  const wordsText = textOf("countersign-words"), proofText = textOf("countersign-proof");
  const styleText = document.querySelector("style")?.textContent ?? "";
  const clearPage = async () => {
    const head = document.createElement("head"), body = document.createElement("body");
    const main = document.createElement("main"), style = document.createElement("style");
    main.id = "page";
    main.append(make("h1", "Audit trail of one message, with its proof"), outcome, told);
    body.append(main);
    if (hex(await sha256(encoder.encode(styleText))) === HASH_OF_THE_STYLE) style.textContent = styleText;
    else findings.push("How this file looks was edited after it was made.");
    for (
      const [name, content] of [["viewport", "width=device-width, initial-scale=1"], ["color-scheme", "light dark"]]
    ) {
      const meta = document.createElement("meta");
      Object.assign(meta, { name, content });
      head.append(meta);
    }
    head.append(make("title", "Audit trail of one message, with its proof · Countersign"), style);
    const root = document.documentElement;
    for (const { name } of [...root.attributes]) root.removeAttribute(name);
    root.lang = "en";
    root.replaceChildren(head, body);
  };

  const outcome = make("p"), told = make("div");
  outcome.id = "outcome";
  told.id = "told";
  outcome.setAttribute("role", "status");
  const say = (kind, first, rest = []) => {
    outcome.className = kind;
    outcome.replaceChildren(make("strong", first));
    const list = make("ul");
    list.append(...rest.map((sentence) => make("li", sentence)));
    if (rest.length) outcome.append(list);
  };

  try {
    if (!globalThis.crypto || !crypto.subtle) throw new Error("this browser does not let a file compute hashes");
    await clearPage();
    const areWordsOurs = hex(await sha256(encoder.encode(wordsText))) === HASH_OF_THE_WORDS;
    if (!areWordsOurs) findings.push("The sentences in this file were edited after it was made. They are not shown.");
    const words = areWordsOurs
      ? JSON.parse(wordsText)
      : { actions: {}, answers: [], not_sealed: [], made_at: "", told: [] };
    const proof = JSON.parse(proofText);
    if (proof.v !== 1 || proof.kind !== "message") throw new Error("it holds no proof of a message");
    const { leaves, read } = await readEntries(proof);
    for (const { entry, fields, wrong } of read) {
      if (fields !== null || !words.told.includes(entry.id)) continue;
      wrong.push("Its personal details were taken out of this file.");
      findings.push("Entry " + entry.id + ": its personal details were taken out of this file.");
    }
    const nodes = new Map(proof.nodes.map(([level, index, found]) => [level + "/" + index, unhex(found)]));
    let leadsToRoot = false;
    try {
      leadsToRoot = hex(await rootFrom(leaves, nodes, proof.seal.size)) === proof.seal.root;
    } catch { /* told below */ }
    if (!leadsToRoot) {
      findings.push(
        "The entries are not those that seal " + proof.seal.number +
          " covers: one of them, a hash or the seal was edited.",
      );
    }
    const signature = await checkSeal(proof.seal);
    if (signature === "wrong") {
      findings.push("Seal " + proof.seal.number + " is not signed by its key: what it says was edited.");
    }
    const key = shortFingerprint(await sha256(unhex(proof.seal.key)));

    const unsigned = signature === "not checked"
      ? ["The signature was NOT checked: this browser cannot check Ed25519. countersign_verify.py can."]
      : [];
    const covered = read.length === 1 ? "The one entry is" : "All " + read.length + " entries are";
    if (findings.length) say("bad", "Verification failed.", [...findings, ...unsigned]);
    else if (unsigned.length) say("doubt", covered + " as the seal says, but its signature was NOT checked.", unsigned);
    else {say(
        "good",
        "Verified. " + covered + " as seal " + proof.seal.number + " of " + inUtc(proof.seal.at) +
          " says, and its signature is that of the key below.",
      );}

    told.append(make("h2", "The key"), make("p", key, "key"));
    told.append(
      make(
        "p",
        "This file cannot prove that this is the desk's key. Compare it with the desk's own page " +
          "(Audit, Ledger status), with the file or the Discord channel where the desk keeps its seals, " +
          "or with what you were given earlier.",
      ),
    );
    told.append(
      make(
        "p",
        "Somebody who can change this file can also change its check. " +
          "The desk offers countersign_verify.py, which checks this file independently.",
        "quiet small",
      ),
    );
    if (words.answers.length && !findings.length) {
      told.append(make("h2", "In short"));
      showAnswers(told, words);
    } else if (words.answers.length) {
      told.append(
        make("p", "The answers are not shown, because the entries behind them failed verification.", "quiet"),
      );
    }
    told.append(make("h2", "Every entry"));
    if (words.not_sealed.length) {
      told.append(
        make(
          "p",
          "Not sealed when this file was made, and so not in it: entries " + words.not_sealed.join(", ") + ".",
          "quiet",
        ),
      );
    }
    told.append(showEntries(read, words, proof.seal, leadsToRoot));
    told.append(
      make("h2", "What was checked"),
      make(
        "p",
        "The message " + proof.message + ". Seal " + proof.seal.number + " over " + proof.seal.size +
          " entries, root " + proof.seal.root + ". Key " + proof.seal.key + ". " +
          (words.made_at ? "Made " + inUtc(words.made_at) + "." : ""),
        "mono",
      ),
    );
  } catch (error) {
    say("bad", "Verification failed: this file is damaged.", [String(error.message)]);
  }
})();
