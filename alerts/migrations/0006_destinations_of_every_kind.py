"""Makes room for destinations of every kind, for cards about other things than a message, and for interactions."""

import common.encryption
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


# What was planned so far are cards. At once, because a table with checks that wait cannot be altered.
FILL = """
SET CONSTRAINTS ALL IMMEDIATE;
UPDATE alerts_delivery SET destination_id = card.destination_id, message_id = card.message_id
  FROM alerts_card card WHERE card.id = alerts_delivery.card_id;
SET CONSTRAINTS ALL DEFERRED;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('alerts', '0005_witnesses'),
        ('approvals', '0021_what_was_seen'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Digest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('discord_message_id', models.CharField(blank=True, max_length=32)),
                ('opened_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('removed', models.BooleanField(default=False)),
            ],
        ),
        migrations.CreateModel(
            name='Interaction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('due', 'Due'), ('sending', 'Sending'), ('delivered', 'Delivered'), ('failed', 'Failed')], default='due', max_length=12)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('next_attempt_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('response_status', models.PositiveIntegerField(blank=True, null=True)),
                ('last_error', models.TextField(blank=True)),
                ('trace', models.CharField(blank=True, max_length=64)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('last_attempt_at', models.DateTimeField(blank=True, null=True)),
                ('discord_id', models.CharField(max_length=32, unique=True)),
                ('kind', models.CharField(choices=[('press', 'Button'), ('form', 'Form'), ('command', 'Command')], max_length=8)),
                ('name', models.CharField(max_length=40)),
                ('discord_user_id', models.CharField(max_length=32)),
                ('discord_user', models.CharField(blank=True, max_length=100)),
                ('discord_channel', models.CharField(blank=True, max_length=100)),
                ('discord_channel_id', models.CharField(blank=True, max_length=32)),
                ('discord_guild_id', models.CharField(blank=True, max_length=32)),
                ('options', common.encryption.EncryptedTextField(blank=True)),
                ('token', common.encryption.EncryptedTextField(blank=True)),
                ('outcome', models.CharField(blank=True, max_length=40)),
            ],
        ),
        migrations.AddField(
            model_name='card',
            name='about',
            field=models.CharField(blank=True, max_length=80),
        ),
        migrations.AddField(
            model_name='card',
            name='revision_shown',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='again_of',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='alerts.delivery'),
        ),
        migrations.AddField(
            model_name='delivery',
            name='answer',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='destination',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='alerts.destination'),
        ),
        migrations.AddField(
            model_name='delivery',
            name='entry',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='event_id',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name='delivery',
            name='kind',
            field=models.CharField(choices=[('card', 'Card'), ('digest', 'Digest'), ('answer', 'Answer where it began'), ('event', 'Event')], default='card', max_length=8),
        ),
        migrations.AddField(
            model_name='delivery',
            name='message',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='approvals.message'),
        ),
        migrations.AddField(
            model_name='delivery',
            name='request',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='destination',
            name='answers_channel',
            field=models.CharField(blank=True, max_length=100),
        ),
        migrations.AddField(
            model_name='destination',
            name='channel',
            field=models.CharField(blank=True, max_length=32),
        ),
        migrations.AddField(
            model_name='destination',
            name='secret',
            field=common.encryption.EncryptedTextField(blank=True),
        ),
        migrations.AddField(
            model_name='destination',
            name='secret_before',
            field=common.encryption.EncryptedTextField(blank=True),
        ),
        migrations.AddField(
            model_name='destination',
            name='secret_before_until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='route',
            name='mailbox',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='approvals.mailbox'),
        ),
        migrations.AlterField(
            model_name='card',
            name='message',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='cards', to='approvals.message'),
        ),
        migrations.AlterField(
            model_name='delivery',
            name='card',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='alerts.card'),
        ),
        migrations.AlterField(
            model_name='destination',
            name='kind',
            field=models.CharField(choices=[('discord_webhook', 'Discord webhook'), ('discord_bot', 'Discord channel, by the bot'), ('inngest', 'Inngest'), ('signed_webhook', 'Signed webhook')], default='discord_webhook', max_length=20),
        ),
        migrations.AlterField(
            model_name='destination',
            name='url',
            field=common.encryption.EncryptedTextField(blank=True),
        ),
        migrations.AddConstraint(
            model_name='destination',
            constraint=models.UniqueConstraint(condition=models.Q(models.Q(('answers_channel', ''), _negated=True), ('removed_at', None)), fields=('answers_channel',), name='one_place_answers_a_channel'),
        ),
        migrations.AddField(
            model_name='digest',
            name='destination',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='digests', to='alerts.destination'),
        ),
        migrations.AddField(
            model_name='card',
            name='digest',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='cards', to='alerts.digest'),
        ),
        migrations.AddField(
            model_name='delivery',
            name='digest',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='alerts.digest'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state__in', ('due', 'sending'))), fields=['destination', 'id'], name='delivery_to_do_there'),
        ),
        migrations.AddConstraint(
            model_name='card',
            constraint=models.UniqueConstraint(condition=models.Q(('about', ''), _negated=True), fields=('destination', 'about'), name='one_card_about'),
        ),
        migrations.AddConstraint(
            model_name='card',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('about', ''), ('message__isnull', False)), models.Q(('message', None), models.Q(('about', ''), _negated=True)), _connector='OR'), name='card_is_about_one_thing'),
        ),
        migrations.AddConstraint(
            model_name='card',
            constraint=models.CheckConstraint(condition=models.Q(('digest', None), ('discord_message_id', ''), _connector='OR'), name='one_place_a_card'),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='delivery',
            name='destination',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='alerts.destination'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(condition=models.Q(('again_of', None), ('kind__in', ('event', 'answer'))), fields=('destination', 'entry'), name='told_once'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('card__isnull', False), ('digest', None), ('kind', 'card')), models.Q(('card', None), ('digest__isnull', False), ('kind', 'digest')), models.Q(('card', None), ('digest', None), ('kind__in', ('answer', 'event'))), _connector='OR'), name='delivery_is_of_its_kind'),
        ),
        migrations.AddField(
            model_name='interaction',
            name='message',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='approvals.message'),
        ),
        migrations.AddField(
            model_name='interaction',
            name='person',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='interaction',
            index=models.Index(condition=models.Q(('state__in', ('due', 'sending'))), fields=['next_attempt_at'], name='interaction_to_do'),
        ),
    ]
