-- What tests/policy_showcase.py fills the product with; {ANA}, {BEN} and {IDA} are addresses of people.

INSERT INTO policy_group (name) VALUES ('Finance');
INSERT INTO policy_group_members (group_id, person_id)
SELECT g.id, p.id FROM policy_group g, people_person p WHERE g.name = 'Finance' AND p.email IN ('{ANA}', '{BEN}', '{IDA}');

INSERT INTO policy_workcalendar (name, zone, weekly, holidays) VALUES ('Lisbon office', 'Europe/Lisbon',
  '[[[0, 1440]], [[0, 1440]], [[0, 1440]], [[0, 1440]], [[0, 1440]], [[0, 1440]], [[0, 1440]]]',
  '{{"2026-12-25": "Christmas Day", "2027-01-01": "New Year''s Day"}}');

-- An active version, and a draft in which smaller amounts need two approvals.
INSERT INTO policy_policyversion (number, state, rules, passes, signatures, note, author_id, activated_by_id,
  activated_at)
SELECT v.number, v.state, format('[
  {{"id": "risk", "name": "High risk needs a second look", "when": {{"high_risk": true}},
   "then": {{"approvals": {{"0": 2}}, "care": true}}}},
  {{"id": "money", "name": "Large amounts",
   "when": {{"amount": "%%s", "currency": "EUR"}}, "then": {{"approvals": {{"%%s": 2}}, "bar_editor": true}}}},
  {{"id": "hours", "name": "Newsletters leave in office hours",
   "when": {{"recipients_from": 10, "first_contact": true}}, "then": {{"office_hours": [%%s]}}}},
  {{"id": "minimum", "name": "All mail is seen", "then": {{"least_mode": "gated_all"}}}}]',
  v.amount, g.id, c.id)::jsonb, '[]', '{{}}', v.note, p.id,
  CASE v.state WHEN 'active' THEN p.id END, CASE v.state WHEN 'active' THEN now() - interval '1 day' END
FROM (VALUES (1, 'active', 1000, 'What the auditors asked for in March'), (2, 'draft', 500, ''))
  AS v(number, state, amount, note), policy_group g, policy_workcalendar c, people_person p
WHERE g.name = 'Finance' AND c.name = 'Lisbon office' AND p.email = '{IDA}';

-- A review plan for all mailboxes with a ladder, people on duty, and messages that are late.
INSERT INTO policy_reviewplan (calendar_id, targets, assigns_in_turn)
SELECT id, '{{"high": [15, 60], "": [30, 90]}}', false FROM policy_workcalendar WHERE name = 'Lisbon office';
INSERT INTO policy_ladderstep (plan_id, basis, minutes, act, whom)
SELECT p.id, 'decision', s.minutes, s.act, s.whom FROM policy_reviewplan p,
  (VALUES (-30, 'remind', 'holder'), (0, 'assign', 'duty'), (60, 'remind', 'destinations')) AS s(minutes, act, whom)
WHERE p.mailbox_id IS NULL;
INSERT INTO policy_dutyturn (person_id, calendar_id)
SELECT p.id, c.id FROM people_person p, policy_workcalendar c
WHERE c.name = 'Lisbon office' AND p.email IN ('{ANA}', '{BEN}');
UPDATE mirror_message SET held_at = now() - interval '2 hours'
WHERE id IN (SELECT id FROM mirror_message WHERE state = 'held' ORDER BY id LIMIT 3);
UPDATE approvals_review SET watch_at = now() WHERE is_held;

-- A second admin is required, and two changes wait for one.
INSERT INTO people_grant (person_id, role) SELECT id, 'admin' FROM people_person WHERE email = '{BEN}';
INSERT INTO people_organisationsettings (id, second_admin_since, second_admin_set_by_id)
SELECT 1, now(), id FROM people_person WHERE email = '{IDA}'
ON CONFLICT (id) DO UPDATE SET second_admin_since = now();
INSERT INTO people_pendingchange (command, title, before, after, url, change, subjects, asked_by_id, reason, expires_at, state,
  outcome)
SELECT c.command, c.title, c.before, c.after, '/people/', '{{}}', '[]', p.id, c.reason, now() + interval '7 days', 'waiting', ''
FROM (VALUES
  ('{BEN}', 'loosen', 'outreach@yourteam.example: Oversight mode', 'Oversight mode: Hold outgoing mail (gated_send)',
   'Oversight mode: Monitored (monitored)', 'The newsletter agent made no mistake in three months.'),
  ('{IDA}', 'role', 'Ana Ferreira: role admin of support@yourteam.example', 'Reviewer',
   'Reviewer, admin of support@yourteam.example', 'She sets the review plan of her mailbox.'))
  AS c(email, command, title, before, after, reason), people_person p WHERE p.email = c.email;
