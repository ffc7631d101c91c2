from django.db import migrations, models

# Whatever writes a body, a process of an older version too, makes the stored
# fingerprint unknown.
_TRIGGER = """
CREATE FUNCTION gateway_forget_fingerprint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.fingerprint_basis := '';
    RETURN NEW;
END $$;

CREATE TRIGGER gateway_body_written BEFORE UPDATE OF markdown, html ON gateway_email
    FOR EACH ROW EXECUTE FUNCTION gateway_forget_fingerprint();
"""
_WITHOUT = """
DROP TRIGGER gateway_body_written ON gateway_email;
DROP FUNCTION gateway_forget_fingerprint();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='email',
            name='known_fingerprint',
            field=models.CharField(db_default='', default='', max_length=64),
        ),
        migrations.AddField(
            model_name='email',
            name='fingerprint_basis',
            field=models.CharField(db_default='', default='', max_length=64),
        ),
        migrations.RunSQL(_TRIGGER, _WITHOUT),
    ]
