"""The addresses that browser tests and screenshots open, by name. Whoever opens them
fills in the braces, for example with the address of a held message.
"""

from simple_form.data import rows

# One page of each kind.
PAGES = dict(
    rows("""
sign-in             /accounts/login/
home                /
find                /find/
patterns            /patterns/
queue               /queue/
message             {crowded}
high-risk           {crowded}approve/
edit                {held}edit/
thread              {held}thread/
notices             /notices/
history             /history/
audit               /audit/
trace               /audit/trace/{id}/
ledger-state        /audit/verify/
attention           /attention/
stop                /stop/
alerts              /alerts/
findings            /rules/findings/
connections         /connections/
mailboxes           /mailboxes/
policy              /policy/
policy-try          /policy/try/
groups-and-hours    /policy/groups/
review-plans        /review-plans/
review-plan         /review-plans/0/
set-apart           /queue/apart/
caps                /caps/
allowlists          /allowlists/
account             /people/me/
notifications       /account/notifications/
chat-accounts       /people/me/chat/
password            /people/me/password/
sessions            /people/me/sessions/
confirm             /accounts/reauthenticate/
factors             /people/me/factors/
factor-app          /people/me/factors/app/
factor-passkey      /people/me/factors/passkey/
not-found           /nothing/here/
""")
)
# Pages that only an admin can open.
ADMIN_PAGES = dict(
    rows("""
allowlist           /allowlists/{list}/
people              /people/
invite              /people/invite/
second-factor       /people/second-factor/
changes             /changes/
policy-group-add    /policy/groups/add/
calendar-add        /policy/hours/add/
setup               /setup/
api-keys            /keys/
webhooks            /webhooks/
domains             /domains/
report-decisions    /audit/reports/decisions/
usual-texts         /mailboxes/{mailbox}/texts/reject/
reports             /audit/reports/
report-rights       /audit/reports/rights/
""")
)
# Parts that open on a page: its address, the element that is there then, and before that
# the keys to type and elements to click one after the other.
OPENED = {
    name: (path, steps, there)
    for name, path, there, *steps in rows("""
keys open             {held}               #keys[open]               ?
find over it          {held}               #find[open]               Control+k
more                  {held}               #message-bar .panel-box   #message-bar .menu summary
rejecting             {held}               #reject .reason           #reject > summary
requesting changes    {held}               #send-back .reason        b
later                 {held}               #later .reason            w
snoozing              {held}               #snooze-button ~ *        .more > summary  #snooze-button
high-risk rejecting   {crowded}approve/    #reject .reason           #reject > summary
high-risk later       {crowded}approve/    #later .row .btn          #later > summary
selection             /queue/              #bulk                     .pick
sheet of several      /queue/              .batch                    #pick-all  #bulk .go
""")
}
