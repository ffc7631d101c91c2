"""Runs a discord.py program, unchanged, against the stand-in for Discord. Arguments:
the address of the stand-in, and the path of the program.
"""

import runpy
import sys

import discord.gateway
import discord.http
import yarl

standin, program = sys.argv[1:]
discord.http.Route.BASE = f"{standin}/api/v10"
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(
    standin.replace("http", "ws") + "/ws"
)
runpy.run_path(program, run_name="__main__")
